// zestfs man prints the manual page in roff, made of the commands' declarations.
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "cli/option_table.h"
#include "cli/version.h"

namespace zest::cli {
namespace {

// Text as roff wants it: backslashes and hyphens escaped, no request at the start of a line.
std::string roff(std::string_view text) {
  std::string out;
  for (char c : text) {
    if (c == '\\')
      out += "\\e";
    else if (c == '-')
      out += "\\-";
    else if ((c == '.' || c == '\'') && (out.empty() || out.back() == '\n'))
      out += std::string("\\&") + c;
    else
      out += c;
  }
  return out;
}

std::string option_entry(const OptionRow& option) {
  std::string title;
  for (auto& name : option.names)
    title += fmt::format("{}\\fB{}\\fR{}", title.empty() ? "" : ", ", roff(name),
                         option.takes_value ? " \\fIvalue\\fR" : "");
  auto end = option.default_text.empty() ? "" : fmt::format(" (default: {})", roff(option.default_text));
  return fmt::format(".TP\n{}\n{}{}\n", title, roff(option.help), end);
}

std::string options_text(const std::vector<OptionRow>& options) {
  std::string out, group;
  for (auto& option : options) {
    if (option.group != group) out += fmt::format(".PP\n\\fB{}\\fR\n", roff(option.group));
    group = option.group;
    out += option_entry(option);
  }
  return out;
}

constexpr char kEnd[] = R"roff(.SH EXIT STATUS
.TP
0
success
.TP
1
any error
.TP
3
no such command
.TP
11
the mount unmounted itself: the volume is gone, or not for this client any more
.TP
130, 143
ended by Ctrl\-C or SIGTERM; what was done is kept, and the command can be run again
.SH ENVIRONMENT
.TP
\fBMETA_PASSWORD\fR, \fBREDIS_PASSWORD\fR, \fBSENTINEL_PASSWORD\fR
passwords of the metadata database, where the URL holds none
.TP
\fBACCESS_KEY\fR, \fBSECRET_KEY\fR, \fBSESSION_TOKEN\fR
keys of the object storage for \fBformat\fR and \fBobjbench\fR
.TP
\fBJFS_RSA_PASSPHRASE\fR
passphrase of the RSA key of an encrypted volume
.TP
\fBJFS_GC_SKIPPEDTIME\fR
seconds; \fBgc\fR does not judge younger objects (default: 3600)
.TP
\fBDISPLAY_PROGRESSBAR\fR
\fBfalse\fR: no progress bars
.TP
\fBNO_COLOR\fR
no colours
.SH SEE ALSO
.BR mount (8),
.BR fusermount3 (1)
)roff";

std::string page() {
  auto out = fmt::format(
      ".TH ZESTFS 1 \"\" \"{}\" \"User Commands\"\n.SH NAME\nzestfs \\- a POSIX file system over object storage and a "
      "metadata database\n.SH SYNOPSIS\n.B zestfs\n[\\fIglobal options\\fR] \\fICOMMAND\\fR [\\fIcommand options\\fR] "
      "\\fIARGS\\fR\n.SH DESCRIPTION\nOptions may stand before and behind arguments, with one dash or two. Sizes take "
      "one "
      "of the letters K M G T P E (powers of 1024), durations h m s ms.\n.SH GLOBAL OPTIONS\n",
      roff(version_text()));
  out += options_text(global_options());
  out += ".SH COMMANDS\n";
  for (auto& command : commands()) {
    if (!*command.group) continue;
    out += fmt::format(".SS {}\n\\fBzestfs {}\\fR {}\n.PP\n{}\n", roff(command.name), roff(command.name),
                       roff(command.usage), roff(command.summary));
    out += options_text(options_of(command));
  }
  return out + kEnd;
}

}  // namespace

Runner setup_man(CLI::App& app) {
  auto none = std::make_shared<std::vector<std::string>>();
  positionals(app, *none, 0, 0);
  return [none] {
    fmt::print("{}", page());
    return 0;
  };
}

}  // namespace zest::cli
