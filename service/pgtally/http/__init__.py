"""What each request passes, in this order: edge, access (authentication, rate_limit), then its
handler, which uses body, query_string and replies. direct is a short way from the edge to the
busiest handlers, operation what a handler declares, passage what a request carries."""
