//! Pages of long lists and the tokens that lead to the next one.
