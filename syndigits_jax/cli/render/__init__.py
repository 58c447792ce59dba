"""What commands show: tables, figures and progress."""
