//! What runs here and its lifecycle.
