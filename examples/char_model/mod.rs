//! Owns a small character model: which character follows `CONTEXT` others, by one hidden layer, with
//! its loss, its gradients, and text drawn from it.
//!
//! All parameters lie in one flat buffer, and so do their gradients: one buffer to average.

use std::ops::Range;

/// Characters that a prediction looks at.
pub const CONTEXT: usize = 10;
const HIDDEN: usize = 96;

/// A text as numbers: each character by its place in the alphabet.
pub struct Text {
    alphabet: Vec<char>,
    characters: Vec<usize>,
}

impl Text {
    /// The words of `text`, one space between two.
    pub fn new(text: &str) -> Self {
        let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut alphabet: Vec<char> = words.chars().collect();
        alphabet.sort_unstable();
        alphabet.dedup();
        let place = |c| alphabet.partition_point(|&other| other < c);
        let characters = words.chars().map(place).collect();
        Self { alphabet, characters }
    }

    pub fn alphabet(&self) -> usize {
        self.alphabet.len()
    }

    /// How many places there are that have a whole context before them.
    pub fn examples(&self) -> usize {
        self.characters.len() - CONTEXT
    }

    /// The context number `index`, and the character that follows it.
    pub fn example(&self, index: usize) -> (&[usize], usize) {
        (&self.characters[index..index + CONTEXT], self.characters[index + CONTEXT])
    }
}

/// Where each layer's parameters lie in the flat buffer.
struct Layers {
    alphabet: usize,
    /// For each place in the context and each character, what it adds to the hidden layer.
    hidden: Range<usize>,
    hidden_bias: Range<usize>,
    /// For each hidden unit, what it adds to every character's score.
    scores: Range<usize>,
    scores_bias: Range<usize>,
}

impl Layers {
    fn new(alphabet: usize) -> Self {
        let hidden = 0..CONTEXT * alphabet * HIDDEN;
        let hidden_bias = hidden.end..hidden.end + HIDDEN;
        let scores = hidden_bias.end..hidden_bias.end + HIDDEN * alphabet;
        let scores_bias = scores.end..scores.end + alphabet;
        Self { alphabet, hidden, hidden_bias, scores, scores_bias }
    }

    /// What `character` at `place` of the context adds to the hidden layer.
    fn row(&self, place: usize, character: usize) -> Range<usize> {
        let start = self.hidden.start + (place * self.alphabet + character) * HIDDEN;
        start..start + HIDDEN
    }

    /// What hidden unit `unit` adds to the scores.
    fn column(&self, unit: usize) -> Range<usize> {
        let start = self.scores.start + unit * self.alphabet;
        start..start + self.alphabet
    }
}

pub struct Model {
    layers: Layers,
    pub parameters: Vec<f32>,
}

impl Model {
    /// The same parameters for the same seed, on every machine.
    pub fn new(alphabet: usize, seed: u64) -> Self {
        let layers = Layers::new(alphabet);
        let mut random = Random(seed);
        let mut parameters = vec![0.0; layers.scores_bias.end];
        let mut fill = |range: &Range<usize>, width: f32| {
            for parameter in &mut parameters[range.clone()] {
                *parameter = width * (2.0 * random.unit() - 1.0);
            }
        };
        // The usual widths: a unit's input has a variance of about one.
        fill(&layers.hidden, (3.0 / CONTEXT as f32).sqrt());
        fill(&layers.scores, (3.0 / HIDDEN as f32).sqrt());
        Self { layers, parameters }
    }

    /// Adds the gradients of the loss of each example to `gradients`, which lie as the parameters
    /// do, and returns the sum of the losses (nats).
    pub fn backward<'a>(
        &self,
        examples: impl Iterator<Item = (&'a [usize], usize)>,
        gradients: &mut [f32],
    ) -> f32 {
        let mut loss = 0.0;
        for (context, next) in examples {
            let hidden = self.hidden(context);
            // The gradient by the scores: what was predicted, less what was right.
            let mut errors = self.predict(&hidden);
            loss -= errors[next].ln();
            errors[next] -= 1.0;

            add_scaled(1.0, &errors, &mut gradients[self.layers.scores_bias.clone()]);
            let mut hidden_errors = [0.0; HIDDEN];
            for (unit, (&value, error)) in hidden.iter().zip(&mut hidden_errors).enumerate() {
                let column = self.layers.column(unit);
                add_scaled(value, &errors, &mut gradients[column.clone()]);
                *error = dot(&errors, &self.parameters[column]) * (1.0 - value * value);
            }
            add_scaled(1.0, &hidden_errors, &mut gradients[self.layers.hidden_bias.clone()]);
            for (place, &character) in context.iter().enumerate() {
                let row = self.layers.row(place, character);
                add_scaled(1.0, &hidden_errors, &mut gradients[row]);
            }
        }
        loss
    }

    /// Continues `text` from its example number `start` by `length` characters. A low `temperature`
    /// keeps to what is likely.
    pub fn write(&self, text: &Text, start: usize, length: usize, temperature: f32) -> String {
        let mut random = Random(start as u64);
        let mut characters = text.example(start).0.to_vec();
        for _ in 0..length {
            let hidden = self.hidden(&characters[characters.len() - CONTEXT..]);
            let mut chances = self.predict(&hidden);
            chances.iter_mut().for_each(|chance| *chance = chance.powf(1.0 / temperature));
            let mut drawn = random.unit() * chances.iter().sum::<f32>();
            let next = chances.iter().position(|chance| {
                drawn -= chance;
                drawn < 0.0
            });
            characters.push(next.unwrap_or(0));
        }
        characters.iter().map(|&character| text.alphabet[character]).collect()
    }

    fn hidden(&self, context: &[usize]) -> [f32; HIDDEN] {
        let mut hidden = [0.0; HIDDEN];
        hidden.copy_from_slice(&self.parameters[self.layers.hidden_bias.clone()]);
        for (place, &character) in context.iter().enumerate() {
            add_scaled(1.0, &self.parameters[self.layers.row(place, character)], &mut hidden);
        }
        hidden.map(f32::tanh)
    }

    /// The probability of each character.
    fn predict(&self, hidden: &[f32; HIDDEN]) -> Vec<f32> {
        let mut scores = self.parameters[self.layers.scores_bias.clone()].to_vec();
        for (unit, &value) in hidden.iter().enumerate() {
            add_scaled(value, &self.parameters[self.layers.column(unit)], &mut scores);
        }
        let highest = scores.iter().copied().fold(f32::MIN, f32::max);
        scores.iter_mut().for_each(|score| *score = (*score - highest).exp());
        let sum: f32 = scores.iter().sum();
        scores.iter_mut().for_each(|score| *score /= sum);
        scores
    }
}

fn add_scaled(factor: f32, from: &[f32], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

/// In eight sums side by side, which the compiler makes a vector of.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut sums = [0.0; 8];
    for (a, b) in a.iter().zip(b) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

/// Numbers that look random and follow from a seed (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// From 0 to less than 1.
    fn unit(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 24) as f32
    }

    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }
}
