"""Networks: the catalog, the reference CARE models and their weights."""
