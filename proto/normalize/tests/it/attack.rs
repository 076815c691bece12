//! What every tampered archive has to be: different from the clean one, both ways, and named.

use quorate_normalize::{CompareError, Comparison, Input, Limits, compare};
use quorate_proto::comparison::{AnomalyKind, DifferenceClass, Level, Side};

/// Compares with limits that are far above what any test needs.
pub(crate) fn compared(published: &[u8], rebuilt: &[u8], file_name: &str) -> Comparison {
    compare(&Input { published, rebuilt, file_name }, &Limits::default()).unwrap()
}

/// Asserts that `tampered` against `clean` is different with this anomaly of the published side.
pub(crate) fn assert_attack_is_named(tampered: &[u8], clean: &[u8], file_name: &str, kind: AnomalyKind) {
    assert_ne!(tampered, clean, "the attack changes nothing");
    let comparison = compared(tampered, clean, file_name);
    assert_eq!(comparison.level, Level::Different, "{comparison:#?}");
    let is_named = comparison.anomalies.iter().any(|anomaly| anomaly.side == Side::Published && anomaly.kind == kind);
    assert!(is_named, "{kind:?} is not among {:#?}", comparison.anomalies);
    assert!(comparison.differences.iter().any(|found| found.difference.class == DifferenceClass::Anomaly));
    assert!(comparison.anomalies.iter().all(|anomaly| anomaly.member.as_deref().unwrap_or("").chars().count() <= 300));
    match compare(&Input { published: clean, rebuilt: tampered, file_name }, &Limits::default()) {
        Ok(turned) => {
            assert_eq!(turned.level, Level::Different);
            assert!(turned.anomalies.iter().any(|anomaly| anomaly.side == Side::Rebuilt && anomaly.kind == kind));
        }
        Err(CompareError::UnreadableRebuilt { anomalies }) => assert!(anomalies.iter().any(|anomaly| anomaly.kind == kind)),
        Err(error) => panic!("{error}"),
    }
    let same = compared(tampered, tampered, file_name);
    assert_eq!(same.level, Level::Byte);
    assert!(same.anomalies.iter().any(|anomaly| anomaly.kind == kind), "equal bytes hide their anomalies");
}

/// Asserts that `tampered` is different from `clean` by its members, with no anomaly needed.
pub(crate) fn assert_difference_is_seen(tampered: &[u8], clean: &[u8], file_name: &str, class: DifferenceClass) {
    assert_ne!(tampered, clean, "the attack changes nothing");
    for (published, rebuilt) in [(tampered, clean), (clean, tampered)] {
        let comparison = compared(published, rebuilt, file_name);
        assert_eq!(comparison.level, Level::Different, "{comparison:#?}");
        let classes: Vec<_> = comparison.differences.iter().map(|found| found.difference.class).collect();
        let turned = match class {
            DifferenceClass::OnlyPublished => DifferenceClass::OnlyRebuilt,
            DifferenceClass::OnlyRebuilt => DifferenceClass::OnlyPublished,
            // A build may make an archive inside that cannot be read: then its bytes count.
            DifferenceClass::Anomaly => DifferenceClass::Content,
            class => class,
        };
        assert!(classes.contains(&class) || classes.contains(&turned), "{classes:?}");
    }
}

/// What a comparison has to say of an attack.
#[derive(Clone, Copy)]
pub(crate) enum Expected {
    /// An anomaly of the tampered side.
    Anomaly(AnomalyKind),
    /// A difference, though each side alone is in order.
    Difference(DifferenceClass),
}

/// One row of the table.
pub(crate) struct Attack {
    pub(crate) name: &'static str,
    pub(crate) file_name: &'static str,
    pub(crate) archive: fn() -> Vec<u8>,
    pub(crate) clean: fn() -> Vec<u8>,
    pub(crate) expected: Expected,
}

/// Rows of the table: `name: file name, tampered bytes, clean bytes => anomaly;`, or `=> seen class;`
/// where no side alone is at fault. All of a file together are its `attack_list()`.
macro_rules! attacks {
    ($($name:ident: $file:expr, $tampered:expr, $clean:expr => $($expected:ident)+;)*) => {
        /// Every attack of this file.
        pub(crate) fn attack_list() -> Vec<crate::attack::Attack> {
            vec![$(crate::attack::Attack {
                name: stringify!($name),
                file_name: $file,
                archive: || (&$tampered)[..].to_vec(),
                clean: || (&$clean)[..].to_vec(),
                expected: crate::attack::expected!($($expected)+),
            }),*]
        }
    };
}
pub(crate) use attacks;

macro_rules! expected {
    (seen $class:ident) => {
        crate::attack::Expected::Difference(quorate_proto::comparison::DifferenceClass::$class)
    };
    ($kind:ident) => {
        crate::attack::Expected::Anomaly(quorate_proto::comparison::AnomalyKind::$kind)
    };
}
pub(crate) use expected;

/// The whole table.
pub(crate) fn every_attack() -> Vec<Attack> {
    let lists = [
        crate::tampered_zip::attack_list(),
        crate::tampered_tar::attack_list(),
        crate::tampered_formats::attack_list(),
        crate::tampered_wheel::attack_list(),
        crate::tampered_contents::attack_list(),
        crate::tampered_crate::attack_list(),
        crate::tampered_python::attack_list(),
        crate::tampered_nested::attack_list(),
        crate::tampered_smuggled::attack_list(),
        crate::tampered_heavy::attack_list(),
    ];
    lists.into_iter().flatten().collect()
}
