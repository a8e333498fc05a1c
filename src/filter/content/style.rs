//! Declarations of CSS, as far as they decide whether text is seen.
//!
//! Reads `style` attributes, the attributes of old HTML that say the same, and of style sheets the
//! classes that hide. Does not cascade: what an element may get from a sheet is `Unclear`, and
//! nothing is said against unclear text. Bounded by the length of what is read.

/// A colour as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    /// As around it.
    Inherited,
    Is([u8; 3]),
    /// A picture, a gradient, a name that is not in the table.
    Unclear,
}

/// The size of letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Size {
    Inherited,
    /// At most one pixel.
    Tiny,
    Legible,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) hides: bool,
    pub(super) size: Size,
    pub(super) colour: Colour,
    pub(super) back: Colour,
}

impl Style {
    pub(super) const NONE: Self = Self {
        hides: false,
        size: Size::Inherited,
        colour: Colour::Inherited,
        back: Colour::Inherited,
    };

    /// The text of a `style` attribute.
    pub(super) fn read(text: &str) -> Self {
        let mut style = Self::NONE;
        let (mut flat, mut clipped) = (false, false);
        for declaration in text.split(';') {
            let Some((name, value)) = declaration.split_once(':') else {
                continue;
            };
            let (name, value) = (name.trim(), value.trim());
            let is = |word: &str| name.eq_ignore_ascii_case(word);
            match name.as_bytes().first().map(u8::to_ascii_lowercase) {
                Some(b'd') if is("display") => style.hides |= starts(value, "none"),
                Some(b'v') if is("visibility") => {
                    style.hides |= starts(value, "hidden") || starts(value, "collapse");
                }
                Some(b'm') if is("mso-hide") => style.hides |= starts(value, "all"),
                Some(b'm') if is("max-height") || is("max-width") => flat |= is_zero(value),
                Some(b'h') if is("height") => flat |= is_zero(value),
                Some(b'w') if is("width") => flat |= is_zero(value),
                Some(b'o') if is("overflow") => clipped |= starts(value, "hidden"),
                Some(b'o') if is("opacity") => {
                    style.hides |= number(value).is_some_and(|(number, _)| number <= 0.05);
                }
                Some(b'f') if is("font-size") => style.size = size(value),
                Some(b'c') if is("color") => style.colour = colour(value),
                Some(b'b') if is("background-color") || is("background") => {
                    style.back = colour(value)
                }
                Some(b't') if is("text-indent") => style.hides |= is_far(value),
                Some(b'l') if is("left") => style.hides |= is_far(value),
                Some(b't') if is("top") => style.hides |= is_far(value),
                _ => {}
            }
        }
        style.hides |= flat && clipped;
        style
    }

    pub(super) fn says_nothing(&self) -> bool {
        *self == Self::NONE
    }
}

fn starts(value: &str, word: &str) -> bool {
    value.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
}

/// A number and its unit.
fn number(value: &str) -> Option<(f32, &str)> {
    let window = &value.as_bytes()[..value.len().min(16)];
    let digits = window.iter().take_while(|octet| octet.is_ascii_digit() || b"+-.".contains(octet));
    let (number, unit) = value.split_at(digits.count());
    Some((number.parse().ok()?, unit))
}

fn is_zero(value: &str) -> bool {
    number(value).is_some_and(|(number, _)| number == 0.0)
}

/// Out of the window to the left or above it.
fn is_far(value: &str) -> bool {
    number(value).is_some_and(|(number, unit)| number <= -500.0 && !unit.starts_with('%'))
}

fn size(value: &str) -> Size {
    let Some((number, unit)) = number(value) else {
        return if starts(value, "inherit") { Size::Inherited } else { Size::Legible };
    };
    let pixels = match unit.trim_start().as_bytes() {
        [b'e' | b'E', b'm' | b'M', ..] | [b'r' | b'R', ..] => number * 16.0,
        [b'%', ..] => number * 0.16,
        [b'p' | b'P', b't' | b'T', ..] => number * 1.33,
        _ => number,
    };
    if pixels <= 1.4 { Size::Tiny } else { Size::Legible }
}

/// The value of a colour or of a background, which may begin with one.
pub(super) fn colour(value: &str) -> Colour {
    let value = value.trim();
    if let Some(hex) = value.strip_prefix('#') {
        return hex_colour(hex);
    }
    let letters = value.bytes().take_while(u8::is_ascii_alphabetic).count();
    let (word, rest) = value.split_at(letters);
    if starts(word, "rgb") {
        return rgb(rest);
    }
    if word.eq_ignore_ascii_case("transparent")
        || word.eq_ignore_ascii_case("inherit")
        || word.eq_ignore_ascii_case("none")
    {
        return if rest.contains("url(") { Colour::Unclear } else { Colour::Inherited };
    }
    if rest.contains("url(") || rest.contains("gradient") {
        return Colour::Unclear;
    }
    let known = COLOURS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word));
    known.map_or(Colour::Unclear, |(_, octets)| Colour::Is(*octets))
}

fn hex_colour(text: &str) -> Colour {
    let digits = text.bytes().take(8).map_while(|octet| char::from(octet).to_digit(16));
    let (mut all, mut count) = ([0u8; 8], 0);
    for (place, digit) in all.iter_mut().zip(digits) {
        (*place, count) = (digit as u8, count + 1);
    }
    if text.contains("url(") {
        return Colour::Unclear;
    }
    match count {
        3 | 4 => Colour::Is([all[0] * 17, all[1] * 17, all[2] * 17]),
        6 | 8 => Colour::Is([all[0] << 4 | all[1], all[2] << 4 | all[3], all[4] << 4 | all[5]]),
        _ => Colour::Unclear,
    }
}

/// After `rgb` or `rgba`.
fn rgb(text: &str) -> Colour {
    let inside = text.trim_start_matches(['a', '(', ' ']);
    let mut octets = [0u8; 3];
    let mut numbers = inside.split([',', ')', ' ', '/']).filter(|piece| !piece.is_empty());
    for octet in &mut octets {
        match numbers.next().and_then(number) {
            Some((number, "")) => *octet = number.clamp(0.0, 255.0) as u8,
            _ => return Colour::Unclear,
        }
    }
    match numbers.next().and_then(number) {
        Some((alpha, _)) if alpha < 1.0 => Colour::Unclear,
        _ => Colour::Is(octets),
    }
}

/// Whether text of one colour on the other cannot be read.
pub(super) fn alike(colour: Colour, back: Colour) -> bool {
    const DIFFERENCE_MAX: u16 = 12;
    match (colour, back) {
        (Colour::Is(one), Colour::Is(other)) => {
            let difference =
                one.iter().zip(other).map(|(one, other)| u16::from(one.abs_diff(other)));
            difference.sum::<u16>() <= DIFFERENCE_MAX
        }
        _ => false,
    }
}

const COLOURS: [(&str, [u8; 3]); 18] = [
    ("white", [255, 255, 255]),
    ("black", [0, 0, 0]),
    ("red", [255, 0, 0]),
    ("blue", [0, 0, 255]),
    ("green", [0, 128, 0]),
    ("gray", [128, 128, 128]),
    ("grey", [128, 128, 128]),
    ("silver", [192, 192, 192]),
    ("yellow", [255, 255, 0]),
    ("orange", [255, 165, 0]),
    ("navy", [0, 0, 128]),
    ("purple", [128, 0, 128]),
    ("maroon", [128, 0, 0]),
    ("teal", [0, 128, 128]),
    ("lime", [0, 255, 0]),
    ("whitesmoke", [245, 245, 245]),
    ("snow", [255, 250, 250]),
    ("ivory", [255, 255, 240]),
];

/// What the style sheets of a page say that matters here.
#[derive(Debug, Default)]
pub(super) struct Sheets {
    /// Classes that hide what has them.
    hiding: Vec<String>,
    /// Some rule sets a colour or a background: elements with a class are unclear.
    pub(super) paint: bool,
}

/// Classes remembered of one page.
const CLASSES_MAX: usize = 32;

impl Sheets {
    /// The text of a `style` element. Rules for some screens only (`@media`) say nothing of others.
    pub(super) fn read(&mut self, text: &str) {
        self.paint |= text.contains("color") || text.contains("background");
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            let selector = rest[..open].rsplit(['}', ';']).next().unwrap_or("");
            let after = &rest[open + 1..];
            if selector.trim_start().starts_with('@') {
                rest = after_block(after);
                continue;
            }
            let close = after.find('}').unwrap_or(after.len());
            if Style::read(&after[..close]).hides {
                self.keep(selector);
            }
            rest = after.get(close + 1..).unwrap_or("");
        }
    }

    fn keep(&mut self, selectors: &str) {
        for selector in selectors.split(',') {
            let Some((element, class)) = selector.trim().split_once('.') else {
                continue;
            };
            let plain = |text: &str| {
                text.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet))
            };
            if plain(element) && plain(class) && self.hiding.len() < CLASSES_MAX {
                self.hiding.push(class.to_owned());
            }
        }
    }

    pub(super) fn hides(&self, classes: &str) -> bool {
        !self.hiding.is_empty()
            && classes
                .split_ascii_whitespace()
                .take(16)
                .any(|class| self.hiding.iter().any(|one| one == class))
    }
}

/// What follows the brace that closes a block whose opening brace was before `text`.
fn after_block(text: &str) -> &str {
    let mut depth = 1u32;
    for (at, letter) in text.bytes().enumerate() {
        match letter {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return &text[at + 1..];
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hiding_has_many_spellings() {
        for text in [
            "display:none",
            "DISPLAY : NONE !important",
            "color:red;visibility:hidden",
            "opacity:0",
            "mso-hide:all",
            "max-height:0;overflow:hidden",
            "text-indent:-9999px",
            "position:absolute;left:-5000px",
        ] {
            assert!(Style::read(text).hides, "{text}");
        }
        for text in [
            "display:block",
            "opacity:0.9",
            "max-height:0",
            "overflow:hidden",
            "left:-5px",
            "",
            ";;:",
            "text-indent:1em",
            "left:-1000%",
        ] {
            assert!(!Style::read(text).hides, "{text}");
        }
    }

    #[test]
    fn sizes_and_colours() {
        for (text, expected) in [
            ("0", Size::Tiny),
            ("1px", Size::Tiny),
            ("0.05em", Size::Tiny),
            ("12px", Size::Legible),
            ("1em", Size::Legible),
            ("small", Size::Legible),
            ("inherit", Size::Inherited),
        ] {
            assert_eq!(size(text), expected, "{text}");
        }
        for (text, expected) in [
            ("#fff", Colour::Is([255; 3])),
            ("#FEFEFE", Colour::Is([254; 3])),
            ("white", Colour::Is([255; 3])),
            ("rgb(1, 2,3)", Colour::Is([1, 2, 3])),
            ("rgba(0,0,0,0.5)", Colour::Unclear),
            ("#fff url(x.png)", Colour::Unclear),
            ("transparent", Colour::Inherited),
            ("#zz", Colour::Unclear),
            ("plum", Colour::Unclear),
        ] {
            assert_eq!(colour(text), expected, "{text}");
        }
        assert!(alike(colour("#fff"), colour("#fefefe")));
        assert!(!alike(colour("#fff"), colour("#000")));
    }

    #[test]
    fn classes_hide_where_no_screen_is_named() {
        let mut sheets = Sheets::default();
        sheets
            .read("a{color:red}.x,td.y{display:none}@media (max-width:1px){.z{display:none}}.w{}");
        assert!(sheets.hides("x") && sheets.hides("b y") && sheets.paint);
        assert!(!sheets.hides("z") && !sheets.hides("w") && !sheets.hides(""));
    }
}
