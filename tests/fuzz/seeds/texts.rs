//! A few words of each format that has no vectors: target, the byte that says which parser, text.

const PAGE: &str = r#"{"meta":{"api-version":"1.1"},"name":"demo","files":[{"filename":"demo-0.9-py3-none-any.whl","url":"../../files/demo-0.9-py3-none-any.whl#x","hashes":{"sha256":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"},"size":7,"upload-time":"2019-12-21T18:38:41.666429Z","requires-python":">=3.7"},{"filename":"demo-1.0.tar.gz","url":"https://files.registry.example/demo-1.0.tar.gz","hashes":{"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}},{"filename":"other-2.0rc1.zip","url":"other-2.0rc1.zip","hashes":{"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}}]}"#;

const SOURCES: &str = "Package: python-demo\nBinary: python3-demo,\n python-demo-doc\nVersion: 1:1.0+dfsg1-1\nDirectory: pool/main/p/python-demo\nChecksums-Sha256:\n bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 1 x.dsc\n bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 10 python-demo_1.0.orig.tar.xz\n\n";

const INVENTORIES: &str = r#"{"class":"rootfs","packages":[{"name":"bash","architecture":"amd64","version":"5.2"}],"schemaVersion":2,"system":{"id":"debian"}}
{"class":"host","packages":[],"schemaVersion":2,"system":{"id":"debian"},"tools":[{"name":"pip","version":"24.0"}]}"#;

const PYPROJECT: &str = "[build-system]\nrequires = ['setuptools>=61', 'wheel']\nbuild-backend = 'setuptools.build_meta'\nbackend-path = ['.']\n[project]\nname = 'demo'\nversion = '1.0'\n[tool.poetry]\nname = 'demo'\n\0[metadata]\nname = demo\nversion = 1.0\n\0from setuptools import setup\nsetup(name='demo', version='1.0')\n";

const COMMIT: &str = "tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor a <a@example> 1700000000 +0000\ncommitter a <a@example> 1700000000 +0000\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n wgoEAAEIAAAACgkQAQIDBAUGBwg=\n =abcd\n -----END PGP SIGNATURE-----\n\nmessage\n";

const TAG: &str = "object 4b825dc642cb6eb9a060e54bf8d69288fbee4904\ntype commit\ntag v1.0\ntagger a <a@example> 1700000000 +0000\n\nmessage\n-----BEGIN SSH SIGNATURE-----\nU1NIU0lHAAAAAQAAAANhYmMAAAADZ2l0\n-----END SSH SIGNATURE-----\n";

const PACKUMENT: &str = r#"{"name":"demo","time":{"1.0.0":"2024-02-27T16:27:10.676Z"},"versions":{"1.0.0":{"gitHead":"1c6264b795492e8fdecbc82cb8802fcfbfc08d26","_npmVersion":"6.14.6","repository":{"type":"git","url":"git+https://github.com/o/demo.git","directory":"packages/demo"},"dist":{"integrity":"sha1-qZk+NkcGgWq6PiVxeFDCbJzQ2J0=","shasum":"a9993e364706816aba3e25717850c26c9cd0d89d","tarball":"demo/-/demo-1.0.0.tgz"}}}}"#;

const SUITE: &str = "Package: a\nSource: b (2-4)\nVersion: 1:2-3\nArchitecture: all\nFilename: pool/main/a/a_2-3_all.deb\nSize: 12\nSHA256: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n\nFormat: 3.0 (native)\nSource: kernel-wedge\nArchitecture: all\nVersion: 1:2.106~deb12u1-4\nBuild-Depends: debhelper (>= 9),\n x\nChecksums-Sha256:\n bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 10 kernel-wedge_2.106.tar.xz\n";

const DEFINITION: &str = "version: 1\npackage: pkg:pypi/demo@1.0\nartifact: demo-1.0.tar.gz\nreason: the tag was moved\noverrides:\n  - {set: source.commit, to: c7e0fc087ceeadb8b4c84a0953a422c474093d6d, instead-of: null}\n  - {set: source.directory, to: packages/demo}\n  - set: toolchain.npm\n    to: 8.19.4\n    instead-of: 10.2.0\n";

const INDEX: &str = r#"{"name":"Demo","vers":"1.2.3","deps":[{"name":"c","package":"d","kind":"build"}],"cksum":"0000000000000000000000000000000000000000000000000000000000000000","features":{},"yanked":true,"pubtime":"2024-05-17T16:45:26Z"}"#;

const CHANGELOG: &str = "<?xml version='1.0'?><methodResponse><params><param><value><array><data><value><array><data><value><string>demo</string></value><value><nil/></value><value><int>1</int></value><value><string>add py3 file demo-1.0-py3-none-any.whl</string></value><value><int>7</int></value></data></array></value></data></array></value></param></params></methodResponse>";

const RSS: &str = "<?xml version='1.0'?><rss version='2.0'><channel><title>x</title><item><title>a</title><link>https://registry.example/crates/demo/1.0.0</link><pubDate>Fri, 17 May 2024 16:45:26 +0000</pubDate></item></channel></rss>";

const RELEASE: &str = "Suite: stable\nDate: Sat, 10 Feb 2024 11:07:25 UTC\nAcquire-By-Hash: yes\nSHA256:\n bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb 12 main/binary-amd64/Packages.xz\n";

/// All of them.
pub const TEXTS: &[(&str, u8, &str)] = &[
    ("node_registry", 0, PAGE),
    ("node_registry", 1, "demo-1.0-py3-none-any.whl"),
    ("node_registry", 1, "Zope.Interface"),
    ("node_registry", 2, "Types: deb\nURIs: http://debian.example/debian\nSuites: bookworm\nComponents: main\nSigned-By: /k.gpg\n"),
    ("node_registry", 2, "deb [arch=amd64 signed-by=/k.gpg] http://debian.example/debian trixie main contrib\n"),
    ("node_registry", 3, SOURCES),
    ("node_registry", 4, PACKUMENT),
    ("node_registry", 5, "@scope/name"),
    (
        "node_registry",
        5,
        r#"{"name":"demo","scripts":{"prepare":"npm run build","build":"rimraf x && -x"},"devDependencies":{"rimraf":"^3.0.0","-x":"1"}}"#,
    ),
    ("node_registry", 5, "sha1-qZk+NkcGgWq6PiVxeFDCbJzQ2J0="),
    ("node_registry", 6, INDEX),
    ("node_registry", 7, SUITE),
    ("node_release", 4, r#"{"lockfileVersion":3,"packages":{"node_modules/a":{"version":"1.0.0","integrity":"sha512-x"}}}"#),
    ("node_release", 4, "\"@s/a@^1.0.0\", \"@s/a@npm:b@^1.1.0\":\n  version \"1.1.0\"\n  integrity sha512-x\n"),
    ("node_release", 4, "packages:\n\n  /@s/a@1.1.0(peer@2.0.0):\n    resolution: {integrity: sha512-x}\n\n  /c/3.0.0_peer@1:\n"),
    ("node_release", 2, "requests[socks]>=2.8.1,==2.8.*; python_version < '2.7' and extra == 'x'"),
    ("node_release", 2, "pip @ https://registry.example/pip-1.0.tar.gz"),
    ("node_release", 3, "setuptools (75.6.0)"),
    ("node_release", 3, "bdist_wheel (0.37.1)"),
    ("node_source", 3, "d demo/\nf demo/a/b.py code\nl demo/c a/b.py\nh demo/d demo/a/b.py\ns demo/e 4096\n"),
    ("node_source", 3, "l demo/x/y ..\nl demo/x/a y/../b\n"),
    ("node_source", 5, PYPROJECT),
    ("node_git", 0, "100644 blob 4b825dc642cb6eb9a060e54bf8d69288fbee4904\tsetup.py\0120000 blob 00 12\ta b\0"),
    (
        "node_git",
        0,
        "4b825dc642cb6eb9a060e54bf8d69288fbee4904 1700000000 00\nrefs/tags/v1.0 4b82 4b83\n4b82\trefs/tags/v1.0\n4b83\trefs/tags/v1.0^{}\n",
    ),
    ("node_git", 1, "3\nabc\n0\n\nx missing\n2\nab\n"),
    ("node_git", 2, "12:00:00.000 http.c:1 <= Recv header: location: https://forge.example/o/n.git/info/refs?service=git-upload-pack\n"),
    ("node_git", 2, "https://user:secret@forge.example/new/name.git"),
    ("node_git", 3, "@scope/demo\n1.2.3\nv1.2.3\ndemo-1.2.3\nrelease/demo_1_2_3\n1.2.03\n1.2.3-rc.1\n"),
    ("node_git", 4, TAG),
    ("node_git", 5, COMMIT),
    ("node_watch", 0, "<a b='1>2'>1 &lt; &#50;<![CDATA[<raw>&]]><!-- x --><b/></a>"),
    ("node_watch", 1, CHANGELOG),
    ("node_watch", 2, r#"{"results":[{"seq":5,"id":"@s/demo","changes":[]},{"seq":"6-x","id":"demo","deleted":true}],"last_seq":"6-x"}"#),
    ("node_watch", 2, r#"{"db_name":"registry","update_seq":"7-x"}"#),
    ("node_watch", 2, PACKUMENT),
    ("node_watch", 3, RSS),
    ("node_watch", 3, INDEX),
    ("node_watch", 4, r#"{"meta":{"_last-serial":9,"api-version":"1.1"},"projects":[{"name":"Demo","_last-serial":7}]}"#),
    ("node_watch", 4, PAGE),
    ("node_watch", 5, RELEASE),
    ("node_watch", 5, SUITE),
    ("node_watch", 6, "Fri, 17 May 2024 16:45:26 +0000"),
    ("node_watch", 6, "120"),
    ("node_records", 2, INVENTORIES),
    ("node_records", 3, r#"{"package":"pkg:pypi/demo@1.0","file":"demo-1.0.tar.gz"}"#),
    ("node_records", 4, "\"Ready\"\n{\"Ended\":{\"ended\":{\"Code\":0},\"network\":{\"unroutable\":1,\"refused_datagrams\":0}}}\n"),
    ("node_records", 5, DEFINITION),
    ("node_records", 6, "ii \tbash\tamd64\t5.2\nrc \told\tamd64\t1\n"),
];
