# SPDX-License-Identifier: Apache-2.0
# Renders a trail of spin (`spin -t -p`) so that a person can follow it: who, in which function, changes what.
#
# usage: awk -f trail.awk *.pml TRAIL
FILENAME ~ /\.pml$/ {
        if (FNR == 1)
                name = ""
        if (match($0, /^(inline|proctype) [a-z_]+/))
                name = substr($0, RSTART + index(substr($0, RSTART), " "), RLENGTH - index(substr($0, RSTART), " "))
        file = FILENAME
        sub(/.*\//, "", file)
        function_at[file ":" FNR] = name
        next
}
/^ *[0-9]+:\tproc/ {
        if (!match($0, /\([:a-z_]+:[0-9]+\)/))
                next
        split(substr($0, RSTART + 1, RLENGTH - 2), who, ":")
        process = who[1] == "" ? "start" : who[1]
        if (process == "start")
                next
        number = $0
        sub(/^ *[0-9]+:\tproc */, "", number)
        sub(/ .*/, "", number)
        place = $0
        sub(/.*\([:a-z_]+:[0-9]+\) /, "", place)
        sub(/ .*/, "", place)
        change = $0
        sub(/^[^[]*\[/, "", change)
        sub(/\]$/, "", change)
        if (change ~ /^\(|^else|^goto|^break|^timeout|^d_step|^values/ || change !~ / = |assert|\+\+|--/)
                next
        label = process (numbered ? sprintf(" %d", (number - 1) / 2) : "")
        at = function_at[place] == "" ? process : function_at[place]
        where = label "  " at "()"
        if (where != before)
                printf "%-12s %-24s %s\n", label, at, change
        else
                printf "%-12s %-24s %s\n", "", "", change
        before = where
        next
}
/assertion|Error/ {
        print substr($0, 1, 400)
}
