"""A score, a regularizer and a metric of your own for cns: the worked example of docs/extending.md."""
