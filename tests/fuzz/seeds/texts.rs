//! A few words of each format that has no vectors: target, the byte that says which parser, text.

const PAGE: &str = r#"{"meta":{"api-version":"1.1"},"name":"demo","files":[{"filename":"demo-0.9-py3-none-any.whl","url":"../../files/demo-0.9-py3-none-any.whl#x","hashes":{"sha256":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"},"size":7,"upload-time":"2019-12-21T18:38:41.666429Z","requires-python":">=3.7"},{"filename":"demo-1.0.tar.gz","url":"https://files.registry.example/demo-1.0.tar.gz","hashes":{"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}},{"filename":"other-2.0rc1.zip","url":"other-2.0rc1.zip","hashes":{"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}]}"#;

const SOURCES: &str = "Package: python-demo\nBinary: python3-demo,\n python-demo-doc\nVersion: 1:1.0+dfsg1-1\nDirectory: pool/main/p/python-demo\nChecksums-Sha256:\n bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 1 x.dsc\n bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 10 python-demo_1.0.orig.tar.xz\n\n";

const INVENTORIES: &str = r#"{"class":"rootfs","packages":[{"name":"bash","architecture":"amd64","version":"5.2"}],"schemaVersion":2,"system":{"id":"debian"}}
{"class":"host","packages":[],"schemaVersion":2,"system":{"id":"debian"},"tools":[{"name":"pip","version":"24.0"}]}"#;

const PYPROJECT: &str = "[build-system]\nrequires = ['setuptools>=61', 'wheel']\nbuild-backend = 'setuptools.build_meta'\nbackend-path = ['.']\n[project]\nname = 'demo'\nversion = '1.0'\n[tool.poetry]\nname = 'demo'\n\0[metadata]\nname = demo\nversion = 1.0\n\0from setuptools import setup\nsetup(name='demo', version='1.0')\n";

const COMMIT: &str = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor a <a@example> 1700000000 +0000\ncommitter a <a@example> 1700000000 +0000\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n wgoEAAEIAAAACgkQAQIDBAUGBwg=\n =abcd\n -----END PGP SIGNATURE-----\n\nmessage\n";

const TAG: &str = "object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ntype commit\ntag v1.0\ntagger a <a@example> 1700000000 +0000\n\nmessage\n-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQAAAANhYmMAAAADZ2l0\n-----END SSH SIGNATURE-----\n";

/// All of them.
pub const TEXTS: &[(&str, u8, &str)] = &[
    ("node_registry", 0, PAGE),
    ("node_registry", 1, "demo-1.0-py3-none-any.whl"),
    ("node_registry", 1, "Zope.Interface"),
    ("node_registry", 2, "Types: deb\nURIs: http://debian.example/debian\nSuites: bookworm\nComponents: main\nSigned-By: /k.gpg\n"),
    ("node_registry", 2, "deb [arch=amd64 signed-by=/k.gpg] http://debian.example/debian trixie main contrib\n"),
    ("node_registry", 3, SOURCES),
    ("node_release", 2, "requests[socks]>=2.8.1,==2.8.*; python_version < '2.7' and extra == 'x'"),
    ("node_release", 2, "pip @ https://registry.example/pip-1.0.tar.gz"),
    ("node_release", 3, "setuptools (75.6.0)"),
    ("node_release", 3, "bdist_wheel (0.37.1)"),
    ("node_source", 3, "d demo/\nf demo/a/b.py code\nl demo/c a/b.py\nh demo/d demo/a/b.py\ns demo/e 4096\n"),
    ("node_source", 3, "l demo/x/y ..\nl demo/x/a y/../b\n"),
    ("node_source", 5, PYPROJECT),
    ("node_git", 0, "100644 blob 4b825dc642cb6eb9a060e54bf8d69288fbee4904\tsetup.py\0120000 blob 00 12\ta b\0"),
    ("node_git", 0, "4b825dc642cb6eb9a060e54bf8d69288fbee4904 1700000000 00\nrefs/tags/v1.0 4b82 4b83\n4b82\trefs/tags/v1.0\n4b83\trefs/tags/v1.0^{}\n"),
    ("node_git", 1, "3\nabc\n0\n\nx missing\n2\nab\n"),
    ("node_git", 2, "12:00:00.000 http.c:1 <= Recv header: location: https://forge.example/o/n.git/info/refs?service=git-upload-pack\n"),
    ("node_git", 2, "https://user:secret@forge.example/new/name.git"),
    ("node_git", 3, "@scope/demo\n1.2.3\nv1.2.3\ndemo-1.2.3\nrelease/demo_1_2_3\n1.2.03\n1.2.3-rc.1\n"),
    ("node_git", 4, TAG),
    ("node_git", 5, COMMIT),
    ("node_records", 2, INVENTORIES),
    ("node_records", 3, r#"{"package":"pkg:pypi/demo@1.0","file":"demo-1.0.tar.gz"}"#),
    ("node_records", 4, "\"Ready\"\n{\"Ended\":{\"ended\":{\"Code\":0},\"network\":{\"unroutable\":1,\"refused_datagrams\":0}}}\n"),
    ("node_records", 5, "ii \tbash\tamd64\t5.2\nrc \told\tamd64\t1\n"),
];
