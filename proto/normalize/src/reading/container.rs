//! How a file is read, by its name alone.

/// How a file is read. The file name decides, never the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// A zip archive, such as a wheel.
    Zip,
    /// A tar archive, maybe compressed.
    Tar(Option<Codec>),
    /// Anything else that is compressed.
    Packed(Codec),
    /// A Unix archive, such as a static library.
    Ar,
    /// A Debian binary package: two tar archives in a Unix archive.
    Deb,
    /// A file that is not looked into.
    Opaque,
}

/// A format of compressed streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// RFC 1952.
    Gzip,
    /// The format of XZ Utils.
    Xz,
    /// RFC 8878.
    Zstd,
    /// The format of bzip2.
    Bzip2,
}

impl Codec {
    /// The word for it in the first line of a listing.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
        }
    }

    /// First bytes of every stream.
    pub(crate) fn magic(self) -> &'static [u8] {
        match self {
            Self::Gzip => b"\x1f\x8b",
            Self::Xz => b"\xfd7zXZ\0",
            Self::Zstd => b"\x28\xb5\x2f\xfd",
            Self::Bzip2 => b"BZh",
        }
    }
}

/// Endings of file names, in lower case, with how such files are read. The first that fits counts.
const CONTAINERS: [(&str, Container); 29] = [
    (".whl", Container::Zip),
    (".zip", Container::Zip),
    (".egg", Container::Zip),
    (".jar", Container::Zip),
    (".war", Container::Zip),
    (".aar", Container::Zip),
    (".nupkg", Container::Zip),
    (".conda", Container::Zip),
    (".tar.gz", Container::Tar(Some(Codec::Gzip))),
    (".tgz", Container::Tar(Some(Codec::Gzip))),
    (".crate", Container::Tar(Some(Codec::Gzip))),
    (".tar.xz", Container::Tar(Some(Codec::Xz))),
    (".txz", Container::Tar(Some(Codec::Xz))),
    (".tar.zst", Container::Tar(Some(Codec::Zstd))),
    (".tzst", Container::Tar(Some(Codec::Zstd))),
    (".tar.bz2", Container::Tar(Some(Codec::Bzip2))),
    (".tbz2", Container::Tar(Some(Codec::Bzip2))),
    (".tbz", Container::Tar(Some(Codec::Bzip2))),
    (".tar", Container::Tar(None)),
    (".gem", Container::Tar(None)),
    (".deb", Container::Deb),
    (".udeb", Container::Deb),
    (".ddeb", Container::Deb),
    (".ar", Container::Ar),
    (".a", Container::Ar),
    (".gz", Container::Packed(Codec::Gzip)),
    (".xz", Container::Packed(Codec::Xz)),
    (".zst", Container::Packed(Codec::Zstd)),
    (".bz2", Container::Packed(Codec::Bzip2)),
];

impl Container {
    /// The container that a file of this name is read as.
    pub fn of(file_name: &str) -> Self {
        let name = file_name.to_ascii_lowercase();
        let found = CONTAINERS.iter().find(|(suffix, _)| name.ends_with(suffix));
        found.map_or(Self::Opaque, |(_, container)| *container)
    }

    /// The word for it in the first line of a listing.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Zip => "zip",
            Self::Tar(_) => "tar",
            Self::Packed(codec) => codec.word(),
            Self::Ar => "ar",
            Self::Deb => "deb",
            Self::Opaque => "opaque",
        }
    }
}

/// Whose conventions an archive follows: which of its files are generated, and how it is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// A Python wheel.
    Wheel,
    /// A Python source distribution.
    Sdist,
    /// A package of crates.io.
    Crate,
    /// An npm package.
    Npm,
    /// Nobody's in particular.
    Other,
}

impl Format {
    pub(crate) fn of(file_name: &str) -> Self {
        let name = file_name.to_ascii_lowercase();
        let ends = |suffix: &str| name.ends_with(suffix);
        if ends(".whl") {
            Self::Wheel
        } else if ends(".tar.gz") || ends(".zip") {
            Self::Sdist
        } else if ends(".crate") {
            Self::Crate
        } else if ends(".tgz") {
            Self::Npm
        } else {
            Self::Other
        }
    }
}
