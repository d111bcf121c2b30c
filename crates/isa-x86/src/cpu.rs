//! Models of CPUs and their features.

/// An extension that an instruction belongs to.
#[allow(clippy::upper_case_acronyms, missing_docs)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Feature {
    /// Every CPU has it.
    Base,
    /// What the 486 added.
    I486,
    /// What the Pentium added: a time-stamp counter.
    I586,
    /// 64-bit mode.
    LM,
    CX8,
    CMOV,
    FPU,
    MMX,
    FXSR,
    SSE,
    SSE2,
    SSE3,
    SSSE3,
    SSE41,
    SSE42,
    CX16,
    LAHF,
    POPCNT,
    MOVBE,
    LZCNT,
    BMI1,
    BMI2,
    ADX,
    AES,
    PCLMUL,
    SHA,
    AVX,
    AVX2,
    FMA,
    F16C,
    XSAVE,
    XSAVEC,
    RDRAND,
    RDSEED,
    RDTSCP,
    RDPID,
    FSGSBASE,
    PREFETCHW,
    SYSCALL,
    SYSENTER,
    CLFLUSHOPT,
    CLWB,
}

/// A set of features.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Features(u64);

impl Features {
    /// No feature but what every CPU has.
    pub const BASE: Features = Features(1 << Feature::Base as u8);
    /// All of them.
    pub const ALL: Features = Features(u64::MAX);

    /// The set with these as well.
    #[must_use]
    pub const fn with(self, features: &[Feature]) -> Features {
        let (mut bits, mut n) = (self.0, 0);
        while n < features.len() {
            bits |= 1 << features[n] as u8;
            n += 1;
        }
        Features(bits)
    }

    /// Whether this one is in the set.
    #[inline(always)]
    pub const fn has(self, feature: Feature) -> bool {
        self.0 >> feature as u8 & 1 != 0
    }
}

/// A register of CPUID's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answer {
    B = 1,
    C = 2,
    D = 3,
}

/// Where CPUID tells of a feature: leaf, subleaf, register, bit (SDM volume 2, CPUID).
const BITS: &[(Feature, u32, u32, Answer, u32)] = {
    use Answer::{B, C, D};
    &[
        (Feature::FPU, 1, 0, D, 0),
        (Feature::I586, 1, 0, D, 4),
        (Feature::CX8, 1, 0, D, 8),
        (Feature::SYSENTER, 1, 0, D, 11),
        (Feature::CMOV, 1, 0, D, 15),
        (Feature::MMX, 1, 0, D, 23),
        (Feature::FXSR, 1, 0, D, 24),
        (Feature::SSE, 1, 0, D, 25),
        (Feature::SSE2, 1, 0, D, 26),
        // CLFLUSH.
        (Feature::SSE2, 1, 0, D, 19),
        (Feature::SSE3, 1, 0, C, 0),
        (Feature::PCLMUL, 1, 0, C, 1),
        (Feature::SSSE3, 1, 0, C, 9),
        (Feature::FMA, 1, 0, C, 12),
        (Feature::CX16, 1, 0, C, 13),
        (Feature::SSE41, 1, 0, C, 19),
        (Feature::SSE42, 1, 0, C, 20),
        (Feature::MOVBE, 1, 0, C, 22),
        (Feature::POPCNT, 1, 0, C, 23),
        (Feature::AES, 1, 0, C, 25),
        (Feature::XSAVE, 1, 0, C, 26),
        // OSXSAVE: the system has enabled it.
        (Feature::XSAVE, 1, 0, C, 27),
        (Feature::AVX, 1, 0, C, 28),
        (Feature::F16C, 1, 0, C, 29),
        (Feature::RDRAND, 1, 0, C, 30),
        (Feature::FSGSBASE, 7, 0, B, 0),
        (Feature::BMI1, 7, 0, B, 3),
        (Feature::AVX2, 7, 0, B, 5),
        (Feature::BMI2, 7, 0, B, 8),
        (Feature::RDSEED, 7, 0, B, 18),
        (Feature::ADX, 7, 0, B, 19),
        (Feature::CLFLUSHOPT, 7, 0, B, 23),
        (Feature::CLWB, 7, 0, B, 24),
        (Feature::SHA, 7, 0, B, 29),
        (Feature::RDPID, 7, 0, C, 22),
        (Feature::LAHF, EXTENDED + 1, 0, C, 0),
        (Feature::LZCNT, EXTENDED + 1, 0, C, 5),
        (Feature::PREFETCHW, EXTENDED + 1, 0, C, 8),
        (Feature::SYSCALL, EXTENDED + 1, 0, D, 11),
        (Feature::RDTSCP, EXTENDED + 1, 0, D, 27),
        (Feature::LM, EXTENDED + 1, 0, D, 29),
    ]
};

impl Features {
    /// The features that a CPU's answers tell of: `cpuid` gives EAX, EBX, ECX and EDX of a leaf and a subleaf.
    pub fn told_by(cpuid: impl Fn(u32, u32) -> [u32; 4]) -> Features {
        let last = [cpuid(0, 0)[0], cpuid(EXTENDED, 0)[0]];
        let told = |leaf: u32, sub, register: Answer, bit| {
            leaf <= last[(leaf >= EXTENDED) as usize] && cpuid(leaf, sub)[register as usize] >> bit & 1 != 0
        };
        let all = BITS.iter().filter(|&&(_, leaf, sub, register, bit)| told(leaf, sub, register, bit));
        let mut features = all.fold(Features::BASE.with(&[I486]), |all, of| all.with(&[of.0]));
        if cpuid(0xd, 1)[0] >> 1 & 1 != 0 && features.has(XSAVE) {
            features = features.with(&[XSAVEC]);
        }
        features
    }
}

/// The first of the extended leaves.
const EXTENDED: u32 = 0x8000_0000;

/// A model of a CPU.
#[derive(Clone, Copy, Debug)]
pub struct Model {
    /// Its name on the command line.
    pub name: &'static str,
    /// Its features.
    pub features: Features,
    /// Family, model and stepping, as leaf 1 has them.
    pub signature: u32,
}

use Feature::*;

const I486_FEATURES: Features = Features::BASE.with(&[I486, FPU]);
const PENTIUM: Features = I486_FEATURES.with(&[I586, CX8]);
const PENTIUM_PRO: Features = PENTIUM.with(&[CMOV, SYSENTER]);
const PENTIUM2: Features = PENTIUM_PRO.with(&[MMX, FXSR]);
const PENTIUM3: Features = PENTIUM2.with(&[SSE]);
const PENTIUM4: Features = PENTIUM3.with(&[SSE2]);
const V1: Features = PENTIUM4.with(&[LM, SYSCALL]);
const V2: Features = V1.with(&[CX16, LAHF, POPCNT, SSE3, SSE41, SSE42, SSSE3]);
const V3: Features = V2.with(&[AVX, AVX2, BMI1, BMI2, F16C, FMA, LZCNT, MOVBE, XSAVE]);
const MAX: Features = V3.with(&[
    ADX, AES, PCLMUL, SHA, XSAVEC, RDRAND, RDSEED, RDTSCP, RDPID, FSGSBASE, PREFETCHW, CLFLUSHOPT, CLWB,
]);

const fn m(name: &'static str, features: Features, signature: u32) -> Model {
    Model { name, features, signature }
}

/// The models, by their numbers. The first one is what programs get if nobody says otherwise.
pub const MODELS: &[Model] = &[
    m("max", MAX, 0x306c3),
    m("x86-64", V1, 0x00f4a),
    m("x86-64-v2", V2, 0x106a5),
    m("x86-64-v3", V3, 0x306c3),
    m("i386", Features::BASE.with(&[FPU]), 0x300),
    m("i486", I486_FEATURES, 0x480),
    m("pentium", PENTIUM, 0x543),
    m("i686", PENTIUM_PRO, 0x619),
    m("pentium2", PENTIUM2, 0x652),
    m("pentium3", PENTIUM3, 0x673),
    m("pentium4", PENTIUM4, 0xf29),
];

/// The model with this number; the first one if there is none.
pub fn model(number: u64) -> &'static Model {
    MODELS.get(number as usize).unwrap_or(&MODELS[0])
}

/// The number of the model with this name.
pub fn by_name(name: &str) -> Option<u64> {
    MODELS.iter().position(|m| m.name == name).map(|n| n as u64)
}

/// Bytes of the state that XSAVE manages: the legacy area, its header, the upper parts of YMM registers.
pub const XSAVE_BYTES: u32 = 512 + 64 + 256;

/// A level of the caches that the leaf 4 shows: type (1 data, 2 instructions, 3 both), level, ways, sets.
const CACHES: [(u32, u32, u32, u32); 4] = [(1, 1, 8, 64), (2, 1, 8, 64), (3, 2, 16, 1024), (3, 3, 16, 8192)];

impl Model {
    /// The highest ordinary leaf.
    fn last_leaf(&self) -> u32 {
        match () {
            () if self.features.has(XSAVE) => 0xd,
            () if self.features.has(LM) => 7,
            () => 1,
        }
    }

    /// EAX, EBX, ECX and EDX of a leaf.
    pub fn cpuid(&self, leaf: u32, subleaf: u32) -> [u32; 4] {
        let extended = EXTENDED + if self.features.has(LM) { 8 } else { 4 };
        // A leaf that does not exist reads as the last ordinary one.
        let leaf = match leaf {
            EXTENDED.. if leaf <= extended => leaf,
            _ if leaf <= self.last_leaf() => leaf,
            _ => self.last_leaf(),
        };
        let mut answer = match (leaf, subleaf) {
            (0, _) => {
                let [b, d, c] = words(*b"GenuineIntel");
                [self.last_leaf(), b, c, d]
            }
            // Cache lines of 64 bytes, in units of 8, for CLFLUSH.
            (1, _) => [self.signature, 8 << 8, 0, 0],
            (4, n) => CACHES.get(n as usize).map_or([0; 4], |&c| cache(c)),
            (0xd, 0) => [7, XSAVE_BYTES, XSAVE_BYTES, 0],
            (0xd, 1) => [(self.features.has(XSAVEC) as u32) << 1, XSAVE_BYTES, 0, 0],
            (0xd, 2) => [256, 576, 0, 0],
            (EXTENDED, _) => [extended, 0, 0, 0],
            (0x8000_0002..=0x8000_0004, _) => self.brand(leaf & 7),
            // 256 KiB of second-level cache for who asks here.
            (0x8000_0006, _) => [0, 0, 0x0100_6040, 0],
            // Physical addresses of 40 bits, linear ones of 48.
            (0x8000_0008, _) => [0x3028, 0, 0, 0],
            _ => [0; 4],
        };
        for &(feature, of, sub, register, bit) in BITS {
            if of == leaf
                && sub == subleaf.min(if leaf == 7 { u32::MAX } else { 0 })
                && self.features.has(feature)
            {
                answer[register as usize] |= 1 << bit;
            }
        }
        answer
    }

    /// A third of the brand string.
    fn brand(&self, part: u32) -> [u32; 4] {
        let mut text = [0; 48];
        let name = format!("Trine {}", self.name);
        let length = name.len().min(47);
        text[..length].copy_from_slice(&name.as_bytes()[..length]);
        let from = 16 * (part as usize).saturating_sub(2).min(2);
        std::array::from_fn(|n| {
            let at = from + 4 * n;
            u32::from_le_bytes([text[at], text[at + 1], text[at + 2], text[at + 3]])
        })
    }
}

/// Twelve characters as three words.
fn words(text: [u8; 12]) -> [u32; 3] {
    std::array::from_fn(|n| {
        u32::from_le_bytes([text[4 * n], text[4 * n + 1], text[4 * n + 2], text[4 * n + 3]])
    })
}

/// A cache as leaf 4 shows it.
fn cache((kind, level, ways, sets): (u32, u32, u32, u32)) -> [u32; 4] {
    const LINE: u32 = 64;
    [kind | level << 5 | 1 << 8, (ways - 1) << 22 | (LINE - 1), sets - 1, 0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpuid_tells_of_the_models_features() {
        let max = model(0);
        assert_eq!(max.cpuid(0, 0)[0], 0xd);
        assert_eq!(max.cpuid(7, 0)[1] >> 5 & 1, 1);
        assert_eq!(max.cpuid(7, 1), [0; 4]);
        assert_eq!(max.cpuid(0xd, 0)[1], 832);
        let v1 = model(by_name("x86-64").unwrap());
        assert_eq!((v1.cpuid(7, 0)[1], v1.cpuid(1, 0)[2]), (0, 0));
        assert_eq!(v1.cpuid(0x8000_0001, 0)[3], 1 << 11 | 1 << 29);
        assert_eq!(v1.cpuid(0x1234_5678, 0), v1.cpuid(7, 0));
        let old = model(by_name("i486").unwrap());
        assert_eq!((old.cpuid(0, 0)[0], old.cpuid(1, 0)[3]), (1, 1));
        assert_eq!(&max.cpuid(0x8000_0002, 0)[0].to_le_bytes(), b"Trin");
    }

    #[test]
    fn a_models_answers_tell_its_features() {
        for model in MODELS.iter().filter(|m| m.features.has(I586)) {
            assert_eq!(
                Features::told_by(|leaf, sub| model.cpuid(leaf, sub)),
                model.features,
                "{}",
                model.name
            );
        }
    }

    #[test]
    fn models_have_their_names_once() {
        for (n, model) in MODELS.iter().enumerate() {
            assert_eq!(by_name(model.name), Some(n as u64));
        }
        assert_eq!(by_name("8086"), None);
    }
}
