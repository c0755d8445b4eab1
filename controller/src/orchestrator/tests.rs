//! Every transition rule, exercised.
