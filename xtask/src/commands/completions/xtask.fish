# Completion of `cargo xtask ...` in this product's repository and its clones, and of `xtask ...`.
# It adds to cargo's own completion, which goes on completing everything else.

# Only the binary that is there is asked: nothing is built, and no other repository's is run.
function __cdc_xtask_bin
    set -l dir $PWD
    while test -n "$dir"
        if test -f "$dir/profiles/versions.yaml" -a -f "$dir/xtask/src/cli.rs"
            set -l target "$dir/target"
            set -q CARGO_TARGET_DIR; and set target "$CARGO_TARGET_DIR"
            test -x "$target/debug/xtask"; or return 1
            echo "$target/debug/xtask"
            return 0
        end
        set dir (string replace --regex '/[^/]*$' '' -- "$dir")
    end
    return 1
end

# The words before the cursor's, from the tool's name on.
function __cdc_xtask_words
    set -l words (commandline --current-process --tokenize --cut-at-cursor)
    if test "$words[1]" = cargo
        set -e words[1]
        string match --quiet '+*' -- "$words[1]"; and set -e words[1]
    end
    string join \n -- $words
end

function __cdc_xtask_applies
    set -l words (__cdc_xtask_words)
    test "$words[1]" = xtask; and __cdc_xtask_bin >/dev/null
end

function __cdc_xtask_complete
    set -l bin (__cdc_xtask_bin); or return
    set -l words (__cdc_xtask_words)
    CDC_XTASK_COMPLETE=fish $bin -- $words (commandline --current-token --cut-at-cursor) 2>/dev/null
end

complete --command cargo --condition __cdc_xtask_applies --no-files --keep-order --arguments '(__cdc_xtask_complete)'
complete --command xtask --condition __cdc_xtask_bin --no-files --keep-order --arguments '(__cdc_xtask_complete)'
