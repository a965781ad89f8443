//! The filter of `short_lines.py`, over Arrow arrays that Python lends by the Arrow C data interface.

use arrow_array::{builder::StringBuilder, Array, StringArray};
use arrow_data::ArrayData;
use arrow_pyarrow::PyArrowType;
use pyo3::prelude::*;

/// Why a text goes; `None` if it stays. Blanks and line breaks are bytes of their own in UTF-8, so nothing is decoded.
fn reason(text: &[u8], fewest_words: usize, sentence_words: usize) -> Option<&'static str> {
    let (mut lines, mut short, mut sentence) = (0usize, 0usize, false);
    for line in text.split(|&byte| byte == b'\n') {
        let (mut words, mut before) = (0usize, b' ');
        for &byte in line {
            words += usize::from(before == b' ' && byte != b' ');
            before = byte;
        }
        if words == 0 {
            continue;
        }
        lines += 1;
        short += usize::from(words < fewest_words);
        sentence |= words >= sentence_words && ends_a_sentence(line);
    }
    if 2 * short > lines {
        Some("short_lines")
    } else if !sentence {
        Some("no_sentence")
    } else {
        None
    }
}

fn ends_a_sentence(line: &[u8]) -> bool {
    let blanks = line.iter().rev().take_while(|&&byte| byte == b' ').count();
    let line = &line[..line.len() - blanks];
    matches!(line.last(), Some(b'.' | b'!' | b'?')) || line.ends_with("。".as_bytes())
}

/// The reasons of a string array, null where a document stays. Other Python threads run meanwhile.
#[pyfunction]
fn judge(
    py: Python<'_>,
    texts: PyArrowType<ArrayData>,
    fewest_words: usize,
    sentence_words: usize,
) -> PyArrowType<ArrayData> {
    let texts = StringArray::from(texts.0);
    let reasons = py.detach(|| {
        let mut reasons = StringBuilder::with_capacity(texts.len(), 0);
        for text in &texts {
            reasons.append_option(reason(text.unwrap_or("").as_bytes(), fewest_words, sentence_words));
        }
        reasons.finish()
    });
    PyArrowType(reasons.into_data())
}

#[pymodule]
fn short_lines_kernel(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(judge, module)?)
}
