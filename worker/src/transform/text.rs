//! From the text of a step to SQL tokens: limits, and `${parameters}` as literals.
//!
//! A parameter becomes one token with its value inside, after the text was cut into tokens. So whatever the value holds,
//! it stays a value: there is no text in which a quote could end a literal.

use std::cell::Cell;
use std::collections::BTreeMap;

use datafusion::sql::sqlparser::ast::{Query, SelectItem, SetExpr, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::Parser;
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Tokenizer, Word};

use super::error::{self, Place, TransformError};

/// The longest text of one expression or query, in bytes.
const LONGEST_TEXT: usize = 64 * 1024;
/// The most operators in one text. A chain of operators is a tree as deep as the chain is long, and everything that
/// walks it (the planner, the evaluation, even its release) uses stack for each level.
const MOST_OPERATORS: usize = 600;
/// The most operators in all texts together: the optimiser puts an expression into the one that uses it.
const MOST_OPERATORS_IN_ALL: usize = 2000;
/// How deep parentheses, calls and sub-selects nest.
const DEEPEST_NESTING: usize = 40;

/// One text of a step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Text<'a> {
    /// What it is: `transforms[1].derive.event_date`.
    pub step: &'a str,
    /// The SQL.
    pub sql: &'a str,
    /// The values of `${name}`.
    pub parameters: &'a BTreeMap<String, String>,
    /// Operators of the texts so far.
    pub operators: &'a Cell<usize>,
}

impl Text<'_> {
    /// The text as one expression, which may have an alias.
    pub fn select_item(&self) -> Result<SelectItem, TransformError> {
        let mut parser = self.parser()?;
        let item = parser.parse_select_item().map_err(|error| self.syntax(&error))?;
        self.expect_end(&parser)?;
        Ok(item)
    }

    /// The text as one expression without an alias.
    pub fn expression(&self) -> Result<datafusion::sql::sqlparser::ast::Expr, TransformError> {
        let mut parser = self.parser()?;
        let expression = parser.parse_expr().map_err(|error| self.syntax(&error))?;
        self.expect_end(&parser)?;
        Ok(expression)
    }

    /// The text as one SELECT, with or without a semicolon.
    pub fn query(&self) -> Result<Box<Query>, TransformError> {
        let mut parser = self.parser()?;
        let statement = parser.parse_statement().map_err(|error| self.syntax(&error))?;
        while parser.consume_token(&Token::SemiColon) {}
        self.expect_end(&parser)?;
        let Statement::Query(query) = statement else {
            return Err(self.not_supported("anything but SELECT", "write one SELECT over the table `input`"));
        };
        if query.with.as_ref().is_some_and(|with| with.recursive) {
            return Err(self.not_supported("WITH RECURSIVE", "write one SELECT over the table `input`"));
        }
        if matches!(query.body.as_ref(), SetExpr::Select(select) if select.into.is_some()) {
            return Err(self.not_supported("SELECT INTO", "the sink of the job says where rows go"));
        }
        Ok(query)
    }

    /// An error of the planner about this text.
    pub fn planner(&self, error: &datafusion::common::DataFusionError) -> TransformError {
        error::planner(self.step, self.sql, error)
    }

    /// A refusal of something in this text.
    pub fn not_supported(&self, what: impl Into<String>, mend: impl Into<String>) -> TransformError {
        TransformError::NotSupported { step: self.step.to_owned(), what: what.into(), mend: mend.into() }
    }

    fn syntax(&self, error: &datafusion::sql::sqlparser::parser::ParserError) -> TransformError {
        error::syntax(self.step, self.sql, error)
    }

    fn expect_end(&self, parser: &Parser<'_>) -> Result<(), TransformError> {
        let next = parser.peek_token_ref();
        if next.token == Token::EOF {
            return Ok(());
        }
        let message = format!("`{}` stands behind the end", next.token);
        Err(TransformError::Syntax { step: self.step.to_owned(), message, place: self.place(next.span) })
    }

    fn place(&self, span: Span) -> Place {
        Place::new(self.sql, span.start.line, span.start.column)
    }

    fn parser(&self) -> Result<Parser<'static>, TransformError> {
        if self.sql.len() > LONGEST_TEXT {
            return Err(self.too_large(format!("the text is longer than {LONGEST_TEXT} bytes")));
        }
        let tokens = Tokenizer::new(&GenericDialect {}, self.sql)
            .tokenize_with_location()
            .map_err(|error| error::tokens(self.step, self.sql, &error))?;
        self.check_size(&tokens)?;
        let tokens = self.bind(tokens)?;
        Ok(Parser::new(&GenericDialect {}).with_tokens_with_locations(tokens))
    }

    fn too_large(&self, message: String) -> TransformError {
        TransformError::TooLarge { step: self.step.to_owned(), message }
    }

    fn check_size(&self, tokens: &[TokenWithSpan]) -> Result<(), TransformError> {
        let operators = tokens.iter().filter(|token| is_operator(&token.token)).count();
        self.operators.set(self.operators.get() + operators);
        if self.operators.get() > MOST_OPERATORS_IN_ALL {
            return Err(self.too_large(format!("the steps have more than {MOST_OPERATORS_IN_ALL} operators together")));
        }
        if operators > MOST_OPERATORS {
            return Err(self.too_large(format!(
                "the text has more than {MOST_OPERATORS} operators (for many values of one column, write `column IN (…)`)"
            )));
        }
        let (mut depth, mut deepest) = (0_usize, 0);
        for token in tokens {
            match token.token {
                Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
                Token::RParen | Token::RBracket | Token::RBrace => depth = depth.saturating_sub(1),
                _ => {}
            }
            deepest = deepest.max(depth);
        }
        if deepest > DEEPEST_NESTING {
            return Err(self.too_large(format!("the text nests deeper than {DEEPEST_NESTING} parentheses")));
        }
        Ok(())
    }

    /// Replaces `${name}`, and string literals that are nothing but `${name}`, by the parameter's value.
    fn bind(&self, tokens: Vec<TokenWithSpan>) -> Result<Vec<TokenWithSpan>, TransformError> {
        let mut bound = Vec::with_capacity(tokens.len());
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match &token.token {
                Token::Placeholder(mark)
                    if mark == "$" && matches!(tokens.peek(), Some(next) if next.token == Token::LBrace) =>
                {
                    tokens.next();
                    let mut name = String::new();
                    let closed = tokens.by_ref().map(|part| part.token).any(|part| {
                        if part != Token::RBrace {
                            name.push_str(&part.to_string());
                        }
                        part == Token::RBrace
                    });
                    if !closed {
                        return Err(self.parameter("`${` is not closed by `}`".to_owned(), token.span));
                    }
                    bound.extend(
                        literal(self.value(&name, token.span)?)
                            .into_iter()
                            .map(|new| TokenWithSpan::new(new, token.span)),
                    );
                }
                Token::Placeholder(mark) => {
                    let message = format!("`{mark}` has no value; parameters are written ${{name}}");
                    return Err(self.parameter(message, token.span));
                }
                Token::SingleQuotedString(text) => match parameter_in(text) {
                    Some(name) if text.len() == name.len() + "${}".len() => {
                        let value = self.value(name, token.span)?.to_owned();
                        bound.push(TokenWithSpan::new(Token::SingleQuotedString(value), token.span));
                    }
                    Some(name) => {
                        let message = format!(
                            "a parameter cannot stand inside of a longer string; write concat('…', ${{{name}}}, '…') instead"
                        );
                        return Err(self.parameter(message, token.span));
                    }
                    None => bound.push(token),
                },
                _ => bound.push(token),
            }
        }
        Ok(bound)
    }

    fn value(&self, name: &str, span: Span) -> Result<&str, TransformError> {
        self.parameters.get(name).map(String::as_str).ok_or_else(|| {
            let known = self.parameters.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            let known = if known.is_empty() { "none".to_owned() } else { known };
            self.parameter(format!("there is no parameter `{name}`; spec.parameters has {known}"), span)
        })
    }

    fn parameter(&self, message: String, span: Span) -> TransformError {
        TransformError::Parameter { step: self.step.to_owned(), message, place: self.place(span) }
    }
}

/// The tokens of a value: an integer or a decimal number if it is written like one, else a string.
fn literal(value: &str) -> Vec<Token> {
    let (negative, digits) = match value.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    match (is_number(digits), negative) {
        (false, _) => vec![Token::SingleQuotedString(value.to_owned())],
        (true, false) => vec![Token::Number(digits.to_owned(), false)],
        // In parentheses, because `::` and `^` bind stronger than the sign.
        (true, true) => vec![Token::LParen, Token::Minus, Token::Number(digits.to_owned(), false), Token::RParen],
    }
}

/// `12`, `12.5`, `1e6`, `1.5E-3`; not `.5`, `5.`, `+5`, `inf`, `0x10`.
fn is_number(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent))),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    // More than 18 digits are an identifier in most data, and would not fit 64 bits.
    digits(whole) && fraction.is_none_or(digits) && exponent.is_none_or(digits) && whole.len() <= 18
}

/// The first `${name}` in a string.
fn parameter_in(text: &str) -> Option<&str> {
    let (_, behind) = text.split_once("${")?;
    let (name, _) = behind.split_once('}')?;
    let plain = |c: char| c.is_alphanumeric() || c == '_' || c == '-' || c == '.';
    (!name.is_empty() && name.chars().all(plain)).then_some(name)
}

fn is_operator(token: &Token) -> bool {
    match token {
        Token::Word(Word { keyword, .. }) => {
            // The words between operands, and those that open a level of their own.
            matches!(
                keyword,
                Keyword::AND
                    | Keyword::OR
                    | Keyword::NOT
                    | Keyword::XOR
                    | Keyword::DIV
                    | Keyword::IS
                    | Keyword::LIKE
                    | Keyword::ILIKE
                    | Keyword::BETWEEN
                    | Keyword::IN
                    | Keyword::CASE
                    | Keyword::AT
                    | Keyword::COLLATE
                    | Keyword::SIMILAR
                    | Keyword::RLIKE
                    | Keyword::REGEXP
                    | Keyword::UNION
                    | Keyword::EXCEPT
                    | Keyword::INTERSECT
                    | Keyword::JOIN
                    | Keyword::INTERVAL
                    | Keyword::OPERATOR
                    | Keyword::OVERLAPS
            )
        }
        Token::EOF
        | Token::Number(..)
        | Token::Char(_)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::Comma
        | Token::Whitespace(_)
        | Token::LParen
        | Token::RParen
        | Token::SemiColon
        | Token::LBrace
        | Token::RBrace
        | Token::RBracket
        | Token::Period => false,
        _ => true,
    }
}
