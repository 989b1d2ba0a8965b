# jq: a query
echo '{"a":[1,{"b":null}]}' | jq -c '.a[1]'
