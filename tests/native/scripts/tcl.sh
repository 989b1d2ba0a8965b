# tclsh: lists, dictionaries, an event loop, a pipe to another program
tclsh <<'END'
proc fib n { if {$n < 2} { return $n }; expr {[fib [expr {$n-1}]] + [fib [expr {$n-2}]]} }
puts [fib 15]
set d [dict create b 2 a 1]
puts [lsort [dict keys $d]]
after 20 { set done timer }
vwait done
puts $done
set p [open "|sort" r+]
puts $p "z\ny\nx"
close $p write
puts [read $p]
close $p
puts [exec echo hello | tr a-z A-Z]
END
