#!/usr/bin/env python
"""Django's command line for the PQL system; it finds the servers of DATA_DIR, or starts them for the command."""

import os
import sys

from django.core.management import execute_from_command_line

from pqlapp import local

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pqlapp.settings")
    with local.for_command(sys.argv):
        execute_from_command_line(sys.argv)
