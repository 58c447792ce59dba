"""The papers' tables: protocol, published values, records, resumption; and a user's own files.

`tables.run_table` evaluates one table, `records` says what its results look like, `own_files`
calibrates two files. Importing this package alone loads none of them.
"""
