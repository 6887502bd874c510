"""Parts of ibis that its values are made of."""
