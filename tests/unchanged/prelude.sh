# `g` is git that says how it ended.
g() {
    git "$@"
    status=$?
    echo "git $1: $status"
    return $status
}
# `f` is git fsck, forgiven what it calls missing and is there: before git 2.53, fsck reads the refs after it has listed the
# objects, and complains of every commit that anybody makes meanwhile.
f() {
    git fsck --no-dangling "$@" >../fsck 2>&1
    status=$?
    sed -n 's/^missing [a-z]* \([0-9a-f]*\)$/\1/p;s/^error: [^ ]*: invalid reflog entry \([0-9a-f]*\)$/\1/p' ../fsck >../fsck-missing
    if test $status = 2 && test "$(wc -l <../fsck)" = "$(wc -l <../fsck-missing)" &&
        ! git cat-file --batch-check <../fsck-missing | grep -q ' missing$'; then
        status=0
        : >../fsck
    fi
    cat ../fsck
    echo "git fsck: $status"
}
