//! `rows!`: one documented row per instruction, from which the decoder, the table for disassembler, assembler
//! and generator, and the binding of rows to bodies are generated.
//!
//! ```text
//! rows! {
//!     cpu Rv { variants rv32, rv64; fields rd: 5, rs1: 5, rs2: 5, rdp: 3 + 8; }
//!     /// Branch if equal.
//!     beq = i::beq(rs1, rs2, imm) "imm[12|10:5] rs2 rs1 000 imm[4:1|11] 1100011" "beq rs1, rs2, imm" I;
//!     /// Load word, stack pointer relative.
//!     c_lwsp = i::lw(rd!=0, 2, uimm) "010 uimm[5] rd uimm[4:2|7:6] 10" "c.lwsp rd, uimm(sp)" C;
//! }
//! ```
//!
//! The head contains the trait of the CPU over which bodies are generic, the variants of the CPU that decode
//! differently (none means that there is only one), and the widths of fields that patterns name without a
//! list of bits, with a number that is added to their value.
//! A row is `name = body(arguments) "pattern" "syntax" [where field!=n, …] EXTENSION [variant];`.
//! See [`pattern`] for patterns and fields. Two rows may overlap only if one is more specific (its fixed bits
//! include the other's) or a `!=` tells them apart.
//!
//! Instructions have 16 or 32 bits. The bits of a pattern are in the manual's order; the CPU defines the
//! order of bytes and an instruction's length. The macro emits `ROWS`, `mod row` (a constant per row), `mod
//! variant` (a constant per variant), `decode16` and `decode32` (`decode16_rv32` … with variants) and `body`,
//! in terms of `::trine_ir::rows`.

mod emit;
mod parse;
mod pattern;
mod tree;
mod x86;

use parse::Fault;
use proc_macro::{Delimiter, Group, Ident, Literal, Punct, Spacing, Span, TokenStream, TokenTree};

/// Generates a decoder and tables from rows; see the crate's documentation.
#[proc_macro]
pub fn rows(input: TokenStream) -> TokenStream {
    expand(input, |tokens| {
        let table = parse::table(tokens)?;
        tree::check(&table.rows)?;
        Ok(emit::items(&table))
    })
}

/// Generates a table of x86 instructions; see [`x86`].
#[proc_macro]
pub fn x86_rows(input: TokenStream) -> TokenStream {
    expand(input, |tokens| Ok(x86::items(&x86::table(tokens)?)))
}

/// The code that `generate` makes of the input, or its error at the token that it concerns.
fn expand(input: TokenStream, generate: impl Fn(&[parse::Token]) -> Result<String, Fault>) -> TokenStream {
    let mut spans = Vec::new();
    let mut tokens = Vec::new();
    flatten(input, &mut tokens, &mut spans);
    match generate(&tokens) {
        Ok(code) => code.parse().unwrap_or_else(|_| {
            error("the emitted code does not parse (a body that is not a path?)", Span::call_site())
        }),
        Err(Fault { at, message }) => error(&message, spans.get(at).copied().unwrap_or_else(Span::call_site)),
    }
}

/// Converts the macro's input to tokens that can also be handled outside the compiler.
fn flatten(input: TokenStream, tokens: &mut Vec<parse::Token>, spans: &mut Vec<Span>) {
    for tree in input {
        spans.push(tree.span());
        match tree {
            TokenTree::Ident(i) => tokens.push(parse::Token::Ident(i.to_string())),
            TokenTree::Punct(p) => tokens.push(parse::Token::Punct(p.as_char())),
            TokenTree::Literal(l) => tokens.push(literal(&l.to_string())),
            TokenTree::Group(g) => {
                let (open, close) = match g.delimiter() {
                    Delimiter::Parenthesis => ('(', ')'),
                    Delimiter::Bracket => ('[', ']'),
                    Delimiter::Brace => ('{', '}'),
                    Delimiter::None => (' ', ' '),
                };
                tokens.push(parse::Token::Punct(open));
                flatten(g.stream(), tokens, spans);
                spans.push(g.span_close());
                tokens.push(parse::Token::Punct(close));
            }
        }
    }
}

fn literal(text: &str) -> parse::Token {
    match text.strip_prefix('"').and_then(|t| t.strip_suffix('"')) {
        Some(inner) => parse::Token::Text(inner.replace("\\'", "'").replace("\\\"", "\"")),
        None => match text.parse() {
            Ok(n) => parse::Token::Number(n),
            Err(_) => parse::Token::Text(text.to_string()),
        },
    }
}

/// `compile_error!(message)` at `span`.
fn error(message: &str, span: Span) -> TokenStream {
    let spanned = |mut tree: TokenTree| {
        tree.set_span(span);
        tree
    };
    let text = TokenTree::Literal(Literal::string(message));
    let group = Group::new(Delimiter::Brace, TokenStream::from(spanned(text)));
    [
        spanned(TokenTree::Ident(Ident::new("compile_error", span))),
        spanned(TokenTree::Punct(Punct::new('!', Spacing::Alone))),
        spanned(TokenTree::Group(group)),
    ]
    .into_iter()
    .collect()
}
