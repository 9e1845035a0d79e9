#include "cli/run.h"

int main(int argc, char** argv) { return zest::cli::run(argc, argv); }
