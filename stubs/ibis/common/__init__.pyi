"""Parts of ibis that its values are refused by."""
