//! Owns the tree's form: documents, elements, attributes, and where each stood in its file.

use alloc::string::String;
use alloc::vec::Vec;

/// A place in a text, both from 1; columns count characters. 0, 0 where nothing was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Position {
    /// Line.
    pub line: u32,
    /// Column.
    pub column: u32,
}

/// A whole file. Equal documents say the same; their layout and positions may differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The `<?xml …?>` line, as it stood.
    pub declaration: Option<String>,
    /// Comments and instructions before the outermost element.
    pub before: Vec<Item>,
    /// The outermost element.
    pub root: Element,
    /// Comments and instructions after it.
    pub after: Vec<Item>,
}

/// What can stand inside an element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// An element.
    Element(Element),
    /// A comment, without its marks.
    Comment(String),
    /// Text, without white space at its ends.
    Text(String),
    /// A processing instruction: target and value.
    Instruction(String, String),
}

/// An element with all that it holds. Equality does not look at the position.
#[derive(Debug, Clone)]
pub struct Element {
    /// Its name.
    pub name: String,
    /// Its attributes, in the order of the file; no name stands twice.
    pub attributes: Vec<Attribute>,
    /// What it holds, in order.
    pub items: Vec<Item>,
    /// Where it began.
    pub at: Position,
}

/// An attribute. Equality does not look at the position.
#[derive(Debug, Clone)]
pub struct Attribute {
    /// Its name.
    pub name: String,
    /// Its value, unescaped.
    pub value: String,
    /// Where its name began.
    pub at: Position,
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.attributes, &self.items)
            == (&other.name, &other.attributes, &other.items)
    }
}

impl Eq for Element {}

impl PartialEq for Attribute {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.value) == (&other.name, &other.value)
    }
}

impl Eq for Attribute {}

impl Document {
    /// A document of one element and nothing around it.
    pub fn new(root: Element) -> Self {
        Self { declaration: None, before: Vec::new(), root, after: Vec::new() }
    }
}

impl Element {
    /// An element without attributes that holds nothing.
    pub fn new(name: impl Into<String>) -> Self {
        let (attributes, items) = (Vec::new(), Vec::new());
        Self { name: name.into(), attributes, items, at: Position::default() }
    }

    /// The same with an attribute set: for building trees in one expression.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.set(name, value);
        self
    }

    /// The same with one more element inside.
    #[must_use]
    pub fn holding(mut self, inner: Element) -> Self {
        self.push(inner);
        self
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.find(name).map(|attribute| attribute.value.as_str())
    }

    /// An attribute with its position.
    pub fn find(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }

    /// Sets an attribute: a new value in the old place, or a new one at the end.
    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        let value = value.into();
        match self.attributes.iter_mut().find(|attribute| attribute.name == name) {
            Some(attribute) => attribute.value = value,
            None => self.attributes.push(Attribute {
                name: name.into(),
                value,
                at: Position::default(),
            }),
        }
    }

    /// Puts an element after all that this one holds.
    pub fn push(&mut self, inner: Element) {
        self.items.push(Item::Element(inner));
    }

    /// The elements that it holds.
    pub fn elements(&self) -> impl Iterator<Item = &Element> {
        self.items.iter().filter_map(|item| match item {
            Item::Element(element) => Some(element),
            _ => None,
        })
    }

    /// The elements that it holds, to change.
    pub fn elements_mut(&mut self) -> impl Iterator<Item = &mut Element> {
        self.items.iter_mut().filter_map(|item| match item {
            Item::Element(element) => Some(element),
            _ => None,
        })
    }

    /// The elements of a name that it holds.
    pub fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.elements().filter(move |element| element.name == name)
    }
}
