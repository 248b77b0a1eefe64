"""Bucket files: CSV, HDF5 and NPZ tables, and the bare lists of other programs."""

from .read_write import read_buckets as read_buckets
from .read_write import write_buckets as write_buckets
from .table import BucketTable as BucketTable
