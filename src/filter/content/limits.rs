//! How much of a message is looked at.
//!
//! The relay takes messages of any size that its configuration allows; the filter does not have to
//! read all of it to know what it is. Each bound ends one kind of work: what was read so far is
//! kept, and [`Bound`] names what ended, as the fact `too-complex`. No bound is a failure.

/// Bounds of one message. [`ContentLimits::STANDARD`] is what the relay uses; tests use smaller.
#[derive(Clone, Copy, Debug)]
pub struct ContentLimits {
    /// Multiparts and attached messages inside each other. Mail clients make four at most.
    pub depth_max: usize,
    /// Parts that are not multiparts.
    pub parts_max: usize,
    /// Fields of all headers together.
    pub fields_max: usize,
    /// Octets of all headers together.
    pub header_bytes_max: usize,
    /// Octets of text, decoded, of all text parts together. Above any newsletter; it also bounds
    /// the time that scanners of text and HTML take.
    pub text_bytes_max: usize,
    /// Octets decoded of one attachment; of a larger one half of it from each end.
    pub attachment_bytes_max: usize,
    /// Octets decoded of all attachments together.
    pub decoded_bytes_max: usize,
    /// Attachments that are described; the others are counted.
    pub attachments_max: usize,
    /// Links that are taken apart.
    pub links_max: usize,
    /// Different hosts whose links are kept.
    pub hosts_max: usize,
    /// Links kept of one host.
    pub links_of_host_max: usize,
    /// Elements of HTML with a style of their own inside each other.
    pub nesting_max: usize,
    /// Names read from the directory of one archive.
    pub archive_names_max: usize,
}

impl ContentLimits {
    pub const STANDARD: Self = Self {
        depth_max: 16,
        parts_max: 256,
        fields_max: 1_000,
        header_bytes_max: 256 * 1024,
        text_bytes_max: 1024 * 1024,
        attachment_bytes_max: 512 * 1024,
        decoded_bytes_max: 4 * 1024 * 1024,
        attachments_max: 64,
        links_max: 2_000,
        hosts_max: 128,
        links_of_host_max: 16,
        nesting_max: 128,
        archive_names_max: 256,
    };
}

/// Which bound ended the reading of something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bound {
    Depth,
    Parts,
    Fields,
    HeaderBytes,
    TextBytes,
    DecodedBytes,
    Attachments,
    Links,
    Nesting,
    ArchiveNames,
}

impl Bound {
    pub const ALL: [Self; 10] = [
        Self::Depth,
        Self::Parts,
        Self::Fields,
        Self::HeaderBytes,
        Self::TextBytes,
        Self::DecodedBytes,
        Self::Attachments,
        Self::Links,
        Self::Nesting,
        Self::ArchiveNames,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Depth => "depth",
            Self::Parts => "parts",
            Self::Fields => "fields",
            Self::HeaderBytes => "header-bytes",
            Self::TextBytes => "text-bytes",
            Self::DecodedBytes => "decoded-bytes",
            Self::Attachments => "attachments",
            Self::Links => "links",
            Self::Nesting => "nesting",
            Self::ArchiveNames => "archive-names",
        }
    }
}
