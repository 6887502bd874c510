"""The analyst's side: compose a query, follow it, verify and open its answer, show it."""
