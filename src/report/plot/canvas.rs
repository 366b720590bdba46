//! Dots in text: a braille character is two dots wide and four high.

pub const DOTS_ACROSS: usize = 2;
pub const DOTS_DOWN: usize = 4;

/// U+2800 with these bits added, by column and row of the character.
const BITS: [[u8; DOTS_DOWN]; DOTS_ACROSS] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];

const SHADE: char = '░';

/// The origin is at the lower left.
pub struct Canvas {
    columns: usize,
    rows: usize,
    cells: Vec<u8>,
    /// Characters that are shaded where they have no dots.
    shades: Vec<bool>,
}

/// A stretch of one row that is drawn in one way.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    pub is_shade: bool,
    pub text: String,
}

impl Canvas {
    pub fn new(columns: usize, rows: usize) -> Canvas {
        Canvas {
            columns,
            rows,
            cells: vec![0; columns * rows],
            shades: vec![false; columns * rows],
        }
    }

    /// Dots across.
    pub fn width(&self) -> usize {
        self.columns * DOTS_ACROSS
    }

    /// Dots high.
    pub fn height(&self) -> usize {
        self.rows * DOTS_DOWN
    }

    pub fn dot(&mut self, x: usize, y: usize) {
        let y = self.height() - 1 - y;
        self.cells[y / DOTS_DOWN * self.columns + x / DOTS_ACROSS] |= BITS[x % DOTS_ACROSS][y % DOTS_DOWN];
    }

    /// Shades the characters that these dots of one column lie in, both ends included.
    pub fn shade(&mut self, x: usize, lowest_y: usize, highest_y: usize) {
        let row = |y: usize| (self.height() - 1 - y) / DOTS_DOWN;
        for row in row(highest_y)..=row(lowest_y) {
            self.shades[row * self.columns + x / DOTS_ACROSS] = true;
        }
    }

    /// Bresenham's line, both ends included.
    pub fn line(&mut self, from: (usize, usize), to: (usize, usize)) {
        let (mut x, mut y) = (from.0 as isize, from.1 as isize);
        let (end_x, end_y) = (to.0 as isize, to.1 as isize);
        let (step_x, step_y) = ((end_x - x).signum(), (end_y - y).signum());
        let (width, height) = ((end_x - x).abs(), -(end_y - y).abs());
        let mut error = width + height;
        loop {
            self.dot(x as usize, y as usize);
            if (x, y) == (end_x, end_y) {
                return;
            }
            let doubled = 2 * error;
            if doubled >= height {
                error += height;
                x += step_x;
            }
            if doubled <= width {
                error += width;
                y += step_y;
            }
        }
    }

    /// The rows from the top, without the blanks at their ends.
    pub fn lines(&self) -> impl Iterator<Item = Vec<Run>> + '_ {
        let rows = self.cells.chunks(self.columns).zip(self.shades.chunks(self.columns));
        rows.map(|(cells, shades)| {
            let mut runs: Vec<Run> = Vec::new();
            for (bits, is_shaded) in cells.iter().zip(shades) {
                let is_shade = *is_shaded && *bits == 0;
                let letter = if is_shade { SHADE } else { braille(*bits) };
                match runs.last_mut() {
                    Some(run) if run.is_shade == is_shade => run.text.push(letter),
                    _ => runs.push(Run {
                        is_shade,
                        text: letter.to_string(),
                    }),
                }
            }
            if let Some(run) = runs.last_mut() {
                run.text.truncate(run.text.trim_end().len());
            }
            runs
        })
    }
}

/// A space where there is nothing: some fonts draw the empty braille character as circles.
fn braille(bits: u8) -> char {
    if bits == 0 {
        ' '
    } else {
        char::from_u32(0x2800 + u32::from(bits)).unwrap_or(' ')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(canvas: &Canvas) -> Vec<String> {
        let line = |runs: Vec<Run>| runs.into_iter().map(|run| run.text).collect();
        canvas.lines().map(line).collect()
    }

    #[test]
    fn the_origin_is_at_the_lower_left() {
        let mut canvas = Canvas::new(2, 2);
        canvas.dot(0, 0);
        canvas.dot(3, 7);
        assert_eq!(drawn(&canvas), [" ⠈", "⡀"]);
    }

    #[test]
    fn a_line_joins_its_ends() {
        let mut canvas = Canvas::new(2, 1);
        canvas.line((0, 0), (3, 3));
        assert_eq!(drawn(&canvas), ["⡠⠊"]);
        let mut backwards = Canvas::new(2, 1);
        backwards.line((3, 3), (0, 0));
        assert_eq!(drawn(&backwards), ["⡠⠊"]);
        let mut upright = Canvas::new(1, 2);
        upright.line((1, 7), (1, 0));
        assert_eq!(drawn(&upright), ["⢸", "⢸"]);
    }

    #[test]
    fn a_shade_fills_the_characters_without_dots() {
        let mut canvas = Canvas::new(3, 3);
        canvas.shade(2, 3, 8);
        canvas.dot(3, 5);
        assert_eq!(drawn(&canvas), [" ░", " ⠠", " ░"]);
        let runs: Vec<Run> = canvas.lines().next().unwrap();
        assert_eq!(
            runs.iter().map(|run| run.is_shade).collect::<Vec<_>>(),
            [false, true, false]
        );
    }
}
