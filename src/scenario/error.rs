//! Bad input: one error names file, line, field, what is wrong, and a way out.

use std::fmt;

/// An error in something the user gave us. Exit code 2.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InputError {
    /// The file as the user named it; empty if the command line is at fault.
    pub file: String,
    /// 1-based line; 0 if unknown.
    pub line: usize,
    /// Path of the field, `spec.template.spec.containers[0].image`; may be empty.
    pub field: String,
    /// What is wrong, a lower-case fragment.
    pub problem: String,
    /// What to do about it; may be empty.
    pub hint: String,
}

impl InputError {
    /// An error about a file as a whole.
    #[must_use]
    pub fn new(file: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { file: file.into(), problem: problem.into(), ..Self::default() }
    }

    /// At this line.
    #[must_use]
    pub fn at(mut self, line: usize) -> Self {
        self.line = line;
        self
    }

    /// About this field.
    #[must_use]
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// With this way out.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = hint.into();
        self
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            f.write_str(&self.file)?;
            if self.line > 0 {
                write!(f, ":{}", self.line)?;
            }
            f.write_str(": ")?;
        }
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.problem)?;
        if !self.hint.is_empty() {
            write!(f, "\n  hint: {}", self.hint)?;
        }
        Ok(())
    }
}

impl std::error::Error for InputError {}

/// All that is wrong with the input: never empty when returned as an error.
pub type InputErrors = Vec<InputError>;
