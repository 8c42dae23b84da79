//! An append-only Merkle tree (RFC 6962), of which only the right edge is kept.

use sha2::{Digest, Sha256};

/// SHA-256 of a node.
pub type NodeHash = [u8; 32];

/// What is needed of a tree to append leaves and to know its root: the roots of its whole
/// subtrees, the largest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TreeFrontier {
    size: u64,
    hashes: Vec<NodeHash>,
}

impl TreeFrontier {
    /// Takes the parts of a frontier; `None` if a tree of this size has another number of them.
    #[must_use]
    pub fn from_parts(size: u64, hashes: Vec<NodeHash>) -> Option<TreeFrontier> {
        (hashes.len() == size.count_ones() as usize).then_some(TreeFrontier { size, hashes })
    }

    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    #[must_use]
    pub fn hashes(&self) -> &[NodeHash] {
        &self.hashes
    }

    pub fn append(&mut self, leaf: &[u8]) {
        let mut node = hash_parts(&[&[0], leaf]);
        let mut size = self.size;
        while size & 1 == 1 {
            let left = self.hashes.pop().unwrap_or_default();
            node = hash_parts(&[&[1], &left, &node]);
            size >>= 1;
        }
        self.hashes.push(node);
        self.size += 1;
    }

    /// Returns the root; that of a tree without leaves is the hash of nothing.
    #[must_use]
    pub fn root(&self) -> NodeHash {
        let joined = self.hashes.iter().rev().copied();
        let join = |right: NodeHash, left: NodeHash| hash_parts(&[&[1], &left, &right]);
        joined.reduce(join).unwrap_or_else(|| hash_parts(&[]))
    }
}

fn hash_parts(parts: &[&[u8]]) -> NodeHash {
    let mut hasher = Sha256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::block::hex;

    /// The definition of RFC 6962, section 2.1, as it stands there.
    fn defined_root(leaves: &[Vec<u8>]) -> NodeHash {
        match leaves {
            [] => hash_parts(&[]),
            [leaf] => hash_parts(&[&[0], leaf]),
            _ => {
                let left = 1 << (usize::BITS - 1 - (leaves.len() - 1).leading_zeros());
                let (left, right) = leaves.split_at(left);
                hash_parts(&[&[1], &defined_root(left), &defined_root(right)])
            }
        }
    }

    #[test]
    fn root_is_that_of_rfc_6962() {
        let leaves: Vec<Vec<u8>> = (0..70_u8).map(|one| vec![one; usize::from(one)]).collect();
        let mut tree = TreeFrontier::default();
        for count in 0..leaves.len() {
            assert_eq!(tree.root(), defined_root(&leaves[..count]), "{count}");
            assert_eq!(tree.size(), count as u64);
            let again = TreeFrontier::from_parts(tree.size(), tree.hashes().to_vec()).unwrap();
            assert_eq!(again, tree);
            tree.append(&leaves[count]);
        }
        assert_eq!(TreeFrontier::from_parts(3, vec![[0; 32]]), None);
    }

    /// The first leaves of the test vectors of Certificate Transparency.
    #[test]
    fn root_of_known_leaves_is_the_known_one() {
        let mut tree = TreeFrontier::default();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(hex(&tree.root()), empty);
        tree.append(b"");
        let one = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
        assert_eq!(hex(&tree.root()), one);
        tree.append(b"\0");
        let two = "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125";
        assert_eq!(hex(&tree.root()), two);
    }
}
