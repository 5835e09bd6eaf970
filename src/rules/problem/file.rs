//! Problems of files and folders as such.

use super::{Problem, error, seen, warning};
use crate::domain::language::Said;

/// A file or folder cannot be read, for the reason that the system gave.
#[expect(clippy::wildcard_enum_match_arm, reason = "the system has words of its own for all others")]
pub(in crate::rules) fn unreadable(cause: &std::io::Error) -> Problem {
    use std::io::ErrorKind::{IsADirectory, NotFound, PermissionDenied};
    let why = match cause.kind() {
        NotFound => Said::new("it is not there", "文件不存在"),
        PermissionDenied => Said::new("this user may not", "当前用户没有权限"),
        IsADirectory => Said::new("it is a folder", "这是一个文件夹"),
        _ => Said::same(cause.to_string()),
    };
    error(
        "unreadable",
        Said::new(format!("cannot read this file: {}", why.en), format!("无法读取这个文件：{}", why.zh)),
        Said::new(
            "check that it exists and that this user may read it",
            "请确认文件存在，并且当前用户有读取权限",
        ),
    )
}

/// Something with the name of a file is none.
pub(in crate::rules) fn no_file() -> Problem {
    error(
        "unreadable",
        Said::new("cannot read this file: it is no regular file", "无法读取：这不是普通文件"),
        Said::new("check what it is, and put a file there", "请检查它是什么，换成普通文件"),
    )
}

/// The folder of the schedule files is missing.
pub(in crate::rules) fn no_folder() -> Problem {
    error(
        "no_folder",
        Said::new("the folder of the schedule files is not there", "提醒规则文件夹不存在"),
        Said::new(
            "make the folder, or correct `schedules` in tixing.yaml",
            "新建这个文件夹，或改正 tixing.yaml 里的 `schedules`",
        ),
    )
}

/// More files than are read.
pub(in crate::rules) fn too_many_files(max: usize) -> Problem {
    error(
        "too_many_files",
        Said::new(format!("more than {max} schedule files"), format!("提醒规则文件超过 {max} 个")),
        Said::new("put several rules into one file", "把多条规则写进同一个文件"),
    )
}

/// One file is too large.
pub(in crate::rules) fn file_too_large(bytes: u64) -> Problem {
    error(
        "file_too_large",
        Said::new(
            format!("the file has {bytes} bytes, allowed are 1048576 (1 MiB)"),
            format!("文件有 {bytes} 字节，最多允许 1048576 字节（1 MiB）"),
        ),
        Said::new("split it into several files", "拆成几个文件"),
    )
}

/// All files together are too large.
pub(in crate::rules) fn folder_too_large(max: usize) -> Problem {
    error(
        "folder_too_large",
        Said::new(
            format!("with this file the schedule files have more than {max} bytes (8 MiB) in all"),
            format!("加上这个文件，提醒规则文件总共超过 {max} 字节（8 MiB）"),
        ),
        Said::new(
            "keep the texts shorter, or put people into tags instead of `openids`",
            "精简文本；人多时给他们打标签，不要逐个列在 `openids` 里",
        ),
    )
}

/// More rules than are kept.
pub(in crate::rules) fn too_many_rules(max: usize) -> Problem {
    error(
        "too_many_rules",
        Said::new(format!("more than {max} rules in all files"), format!("所有文件里的规则超过 {max} 条")),
        Said::new(
            "one rule reaches many recipients: choose them with `to` instead",
            "一条规则可以提醒很多人：用 `to` 选人，不必一人一条",
        ),
    )
}

/// The list of diagnostics ends here.
pub(in crate::rules) fn too_many_findings(more: usize, errors: usize) -> Problem {
    error(
        "too_many_diagnostics",
        Said::new(
            format!("{more} more diagnostics are not listed; errors in all: {errors}"),
            format!("还有 {more} 条没有列出；错误总数：{errors}"),
        ),
        Said::new("mend those above first", "请先改正上面这些"),
    )
}

/// A file that looks like a schedule file and is not read.
pub(in crate::rules) fn ignored_file(instead: &str) -> Problem {
    warning(
        "ignored_file",
        Said::new(
            "this file is not read: names of schedule files end in .yaml",
            "这个文件不会被读取：提醒规则文件的名字要以 .yaml 结尾",
        ),
        Said::new(format!("rename it to {}", seen(instead)), format!("改名为 {}", seen(instead))),
    )
}

/// There is nothing to do.
pub(in crate::rules) fn no_rules() -> Problem {
    warning(
        "no_rules",
        Said::new(
            "no rule in any schedule file: nothing will be sent",
            "所有文件里一条规则也没有：不会发送任何提醒",
        ),
        Said::new(
            "write a file such as schedules/habit.yaml with `rules:`",
            "写一个提醒规则文件，例如 schedules/habit.yaml，里面有 `rules:`",
        ),
    )
}

/// The last good set is not what was written.
pub(in crate::rules) fn kept_copy_damaged() -> Problem {
    error(
        "kept_copy_damaged",
        Said::new(
            "the kept copy of the last good schedule files is damaged",
            "上一份可用的规则文件的备份已损坏",
        ),
        Said::new(
            "mend the schedule files and reload; a new copy is kept then",
            "改正提醒规则文件后重新加载，就会保存新的备份",
        ),
    )
}

/// Not text as we read it.
pub(in crate::rules) fn not_utf8() -> Problem {
    error(
        "not_utf8",
        Said::new("the file is not UTF-8 text", "文件不是 UTF-8 编码"),
        Said::new(
            "save the file as UTF-8 (not GBK, not UTF-16)",
            "用编辑器另存为 UTF-8（不要用 GBK、UTF-16）",
        ),
    )
}

/// A character that no text has.
pub(in crate::rules) fn control_character(code: u32) -> Problem {
    error(
        "control_character",
        Said::new(
            format!("control character U+{code:04X} in the file"),
            format!("文件里有控制字符 U+{code:04X}"),
        ),
        Said::new(
            "delete it; retype the line if you cannot see it",
            "删掉它；看不见的话，把这一行重新输入一遍",
        ),
    )
}

/// A configuration without content.
pub(in crate::rules) fn empty_config() -> Problem {
    error(
        "empty_file",
        Said::new("the file is empty", "文件是空的"),
        Said::new(
            "write at least `apps:`; tixing.example.yaml shows how",
            "至少要写 `apps:`；可以参考 tixing.example.yaml",
        ),
    )
}

/// A schedule file without content.
pub(in crate::rules) fn empty_file() -> Problem {
    warning(
        "empty_file",
        Said::new("the file is empty", "文件是空的"),
        Said::new(
            "delete it, or write what it is for: `rules:` or `dates:`",
            "删掉它，或者写上内容：`rules:` 或 `dates:`",
        ),
    )
}
