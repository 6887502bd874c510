"""The typed question: its model, its plan, and the SQL that it may be typed as."""
