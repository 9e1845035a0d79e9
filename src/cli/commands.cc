// The list of commands. A new one is a file of its own with a setup function, and a line here.
#include "cli/command.h"

namespace zest::cli {

Runner setup_format(CLI::App&);
Runner setup_config(CLI::App&);
Runner setup_quota(CLI::App&);
Runner setup_destroy(CLI::App&);
Runner setup_gc(CLI::App&);
Runner setup_fsck(CLI::App&);
Runner setup_restore(CLI::App&);
Runner setup_dump(CLI::App&);
Runner setup_load(CLI::App&);
Runner setup_tier(CLI::App&);
Runner setup_changelog(CLI::App&);
Runner setup_version(CLI::App&);
Runner setup_status(CLI::App&);
Runner setup_stats(CLI::App&);
Runner setup_profile(CLI::App&);
Runner setup_info(CLI::App&);
Runner setup_summary(CLI::App&);
Runner setup_completion(CLI::App&);
Runner setup_debug(CLI::App&);
Runner setup_man(CLI::App&);
Runner setup_mdtest(CLI::App&);
Runner setup_top(CLI::App&);
Runner setup_why(CLI::App&);
Runner setup_bench(CLI::App&);
Runner setup_objbench(CLI::App&);
Runner setup_mount(CLI::App&);
Runner setup_mount_helper(CLI::App&);
Runner setup_umount(CLI::App&);
Runner setup_warmup(CLI::App&);
Runner setup_rmr(CLI::App&);
Runner setup_clone(CLI::App&);
Runner setup_compact(CLI::App&);

static constexpr Command kCommands[] = {
    {"format", "ADMIN", "create a volume, or change the settings of one", "[command options] META-URL NAME",
     setup_format},
    {"config", "ADMIN", "show or change the settings of a volume", "[command options] META-URL", setup_config},
    {"quota", "ADMIN", "limit directories, users and groups",
     "set|get|delete|del|list|ls|check META-URL [command options]", setup_quota},
    {"destroy", "ADMIN", "remove a volume: its objects and its metadata", "[command options] META-URL UUID",
     setup_destroy},
    {"gc", "ADMIN", "find and delete objects that nothing refers to", "[command options] META-URL", setup_gc},
    {"fsck", "ADMIN", "check a volume, and repair its tree", "[command options] META-URL", setup_fsck},
    {"restore", "ADMIN", "move files back out of the trash", "[command options] META-URL HOUR...", setup_restore},
    {"dump", "ADMIN", "write the metadata to a file", "[command options] META-URL [FILE]", setup_dump},
    {"load", "ADMIN", "load metadata from a file into an empty database", "[command options] META-URL [FILE]",
     setup_load},
    {"tier", "ADMIN", "show storage tiers, and move files to one", "list|set|restore META-URL [PATH] [command options]",
     setup_tier},
    {"version", "ADMIN", "print the version", "", setup_version},
    {"status", "INSPECTOR", "show settings, sessions and usage of a volume", "[command options] META-URL",
     setup_status},
    {"stats", "INSPECTOR", "show what a mount does, live", "[command options] MOUNTPOINT", setup_stats},
    {"profile", "INSPECTOR", "add up the access log by operation", "[command options] MOUNTPOINT|LOGFILE",
     setup_profile},
    {"info", "INSPECTOR", "show inode, size, paths and objects of files", "[command options] PATH|INODE...",
     setup_info},
    {"summary", "INSPECTOR", "show what takes the space below a directory", "[command options] PATH", setup_summary},
    {"top", "INSPECTOR", "show the slowest operations and files of a mount, live", "[command options] MOUNTPOINT",
     setup_top},
    {"why", "INSPECTOR", "show how a file is stored and what reading it costs", "[command options] PATH", setup_why},
    {"changelog", "INSPECTOR", "follow what changes in a volume", "[command options] META-URL", setup_changelog},
    {"debug", "INSPECTOR", "gather what a report about a mount needs, without secrets", "[command options] MOUNTPOINT",
     setup_debug},
    {"bench", "TOOL", "measure a directory", "[command options] PATH", setup_bench},
    {"objbench", "TOOL", "test and measure an object storage", "[command options] BUCKET", setup_objbench},
    {"mdtest", "", "measure the metadata of a volume without a mount", "[command options] META-URL PATH", setup_mdtest},
    {"mount", "SERVICE", "mount a volume", "[command options] META-URL MOUNTPOINT", setup_mount},
    {"mount.helper", "", "what mount(8) calls as mount.zestfs", "META-URL MOUNTPOINT [-o OPTIONS]", setup_mount_helper},
    {"umount", "SERVICE", "unmount a volume", "[command options] MOUNTPOINT", setup_umount},
    {"warmup", "TOOL", "bring files into the cache, take them out, or check", "[command options] [PATH...]",
     setup_warmup},
    {"rmr", "TOOL", "remove whole trees, fast", "[command options] PATH...", setup_rmr},
    {"clone", "TOOL", "copy files or trees without copying data", "[command options] SRC DST", setup_clone},
    {"compact", "TOOL", "merge the slices of files", "[command options] PATH...", setup_compact},
    {"completion", "TOOL", "print the completion script of a shell", "bash|zsh", setup_completion},
    {"man", "TOOL", "print the manual page, for man -l", "", setup_man},
};

std::span<const Command> commands() { return kCommands; }

}  // namespace zest::cli
