"""The images that the test bed's nodes pull, built from their recipes and laid into a registry's storage.

`tests/cluster/images/build.sh` builds them once and prints a folder: `registry`, the program, and `storage/`, what it serves. The
repositories are named as references are without the registry's host, so that one registry stands for all of them.
"""
