//! A fake WeChat platform on loopback, with its own books.
