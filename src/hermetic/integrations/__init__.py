"""Doors for other people's tools; each is one module, and imports its tool late.

filesystem         hermetic:// for fsspec, and through it pandas, pyarrow, dask, torch
sealed_filesystem  sealed:: for fsspec: sealed files at plain locations
parquet            Parquet files whose columns have keys of their own, which custody releases
"""
