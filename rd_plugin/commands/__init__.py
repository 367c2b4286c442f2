# SPDX-License-Identifier: Apache-2.0
"""The tool ``rd-plugin``: anomalib's subcommands with the plugin imported, and the package's own.

``tool`` runs a command; ``argv`` reads the command line; ``error_messages`` turns wrong input into one line, with
``suggestions`` and ``advice``. ``first_arguments`` is the help that needs no parser. ``cli_fixes`` holds what
``anomalib`` and ``rd-plugin`` both do for the package's models. ``command_line`` is anomalib's command line with
``check``; ``without_anomalib`` parses the package's other subcommands, each in its own file. ``delivery`` holds options
of two of them.
"""
