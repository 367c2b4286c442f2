# SPDX-License-Identifier: Apache-2.0
"""The tool ``rd-plugin``: anomalib's subcommands with the plugin imported, and the package's own.

``tool`` runs a command and turns wrong input into one sentence, which ``sentences`` words; ``command_line`` is
anomalib's command line with the subcommands ``check``, ``convert``, ``inspect`` and ``report``, each in its own file.
"""
