//! Owns a network of equal dense layers with its forward and backward pass: enough of a model to have
//! gradients that come layer by layer, the last layer's first.

/// Inputs, and outputs, of each layer.
pub const WIDTH: usize = 384;
pub const LAYERS: usize = 8;
/// Gradients of one layer: a bucket of 576 KiB.
pub const BUCKET: usize = WIDTH * WIDTH;

/// Rows of numbers, one for each example of the batch, one after the other.
type Rows = Vec<f32>;

pub struct Layers {
    /// Of each layer, for each input what it adds to the outputs.
    weights: Vec<Vec<f32>>,
}

/// What the forward pass leaves for the backward pass: the input of each layer, and the output.
pub struct Activations(Vec<Rows>);

impl Layers {
    /// The same weights on every rank.
    pub fn new() -> Self {
        let scale = (6.0 / WIDTH as f32).sqrt();
        let weight = |layer: usize, i: usize| scale * noise(layer * BUCKET + i);
        let weights = (0..LAYERS).map(|layer| (0..BUCKET).map(|i| weight(layer, i)).collect());
        Self { weights: weights.collect() }
    }

    pub fn forward(&self, inputs: Rows) -> Activations {
        let mut rows = vec![inputs];
        for (layer, weights) in self.weights.iter().enumerate() {
            let mut outputs = vec![0.0; rows[layer].len()];
            let examples = rows[layer].chunks(WIDTH).zip(outputs.chunks_mut(WIDTH));
            for (input, output) in examples {
                for (value, weights) in input.iter().zip(weights.chunks(WIDTH)) {
                    add_scaled(*value, weights, output);
                }
                output.iter_mut().for_each(|value| *value = value.max(0.0));
            }
            rows.push(outputs);
        }
        Activations(rows)
    }

    /// The gradients by the weights of `layer`, into `bucket`; `errors`, the gradients by its outputs,
    /// become those by its inputs, which are the outputs of the layer before.
    pub fn backward(
        &self,
        layer: usize,
        activations: &Activations,
        errors: &mut Rows,
        bucket: &mut [f32],
    ) {
        bucket.fill(0.0);
        let (inputs, outputs) = (&activations.0[layer], &activations.0[layer + 1]);
        let mut before = vec![0.0; inputs.len()];
        for (example, error) in errors.chunks_mut(WIDTH).enumerate() {
            let row = example * WIDTH..(example + 1) * WIDTH;
            for (error, output) in error.iter_mut().zip(&outputs[row.clone()]) {
                if *output == 0.0 {
                    *error = 0.0; // cut off by the forward pass
                }
            }
            for (input, value) in inputs[row.clone()].iter().enumerate() {
                let weights = input * WIDTH..(input + 1) * WIDTH;
                add_scaled(*value, error, &mut bucket[weights.clone()]);
                before[row.start + input] = dot(error, &self.weights[layer][weights]);
            }
        }
        *errors = before;
    }
}

impl Activations {
    pub fn outputs(&self) -> &Rows {
        &self.0[LAYERS]
    }
}

/// A number from −1 to 1 that looks random and follows from `index`.
pub fn noise(index: usize) -> f32 {
    let word = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (word >> 40) as f32 / (1 << 23) as f32 - 1.0
}

fn add_scaled(factor: f32, from: &[f32], to: &mut [f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += factor * from;
    }
}

/// In sixteen sums side by side, which the compiler makes vectors of.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; 16];
    for (a, b) in a.as_chunks::<16>().0.iter().zip(b.as_chunks::<16>().0) {
        for (lane, sum) in sums.iter_mut().enumerate() {
            *sum += a[lane] * b[lane];
        }
    }
    sums.iter().sum()
}
