# git: commits, branches, merges, packs, clones
export HOME=$PWD GIT_AUTHOR_DATE=2001-02-03T04:05:06Z GIT_COMMITTER_DATE=2001-02-03T04:05:06Z
git config --global user.email a@b
git config --global user.name N
git config --global init.defaultBranch m
git init -q r
cd r
echo a > f
git add f
git commit -qm one
echo b >> f
git diff | tail -1
git commit -qam two
git log --format=%H%s
git checkout -qb x HEAD~1
echo c > g
git add g
git commit -qm three
git merge -q m -m four
git log --oneline | wc -l
git fsck 2>&1
git gc -q
git clone -q . ../c
ls ../c
