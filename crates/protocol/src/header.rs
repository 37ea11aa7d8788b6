//! Request and response headers, flexible or not.
