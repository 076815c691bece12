// Changes the manifests and the lock file of a source tree so that npm can install from them, and restores them.
// Runs in the sandbox, in the folder that is installed, by any node since 8.
'use strict';
const fs = require('fs');
const path = require('path');

const KEPT = path.join(__dirname, 'manifests.json');
const KINDS = ['dependencies', 'devDependencies', 'optionalDependencies', 'peerDependencies'];
const FOLDERS_MAX = 2000;
// Whether the lowest version of a range is to be installed, not the newest.
const LOWEST = process.argv[3] === 'lowest';

function read(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    return null;
  }
}

function parsed(text) {
  try {
    const value = JSON.parse(text.replace(/^\uFEFF/, ''));
    return value && typeof value === 'object' && !Array.isArray(value) ? value : null;
  } catch (error) {
    return null;
  }
}

function entries(value) {
  return value && typeof value === 'object' ? Object.keys(value).map((key) => [key, value[key]]) : [];
}

// What only a repository or a file server could answer for.
function isAddress(range) {
  const scheme = /^([a-z+@.]+):/i.exec(range);
  if (scheme) return /^(git|http|https|ssh|github|gitlab|bitbucket|gist)$|^git[+@]/.test(scheme[1]);
  return range.includes('/') && !/^[./~@]/.test(range);
}

// The range in npm's words; null where npm cannot have it.
function rewritten(range) {
  const least = LOWEST && /^[~^](\d+\.\d+\.\d+(?:-[\w.]+)?)$/.exec(range);
  if (least) return least[1];
  if (/^(workspace|catalog):/.test(range)) return '*';
  if (/^(link|portal):/.test(range)) return range.replace(/^[a-z]+:/, 'file:');
  const patched = /^patch:.*?@(?:npm(?::|%3A))?([^#]+)/.exec(range);
  if (patched) return decodeURIComponent(patched[1]);
  return isAddress(range) ? null : range;
}

// Changes the requirements in place; says whether any was changed.
function changeRequirements(manifest) {
  let changed = false;
  for (const kind of KINDS) {
    for (const [name, range] of entries(manifest[kind])) {
      if (typeof range !== 'string') continue;
      const now = rewritten(range);
      if (now === range) continue;
      changed = true;
      if (now === null) delete manifest[kind][name];
      else manifest[kind][name] = now;
    }
  }
  return changed;
}

// A lock file must agree with its manifests.
function changeLock(lock) {
  let changed = false;
  for (const [place, entry] of entries(lock.packages)) {
    if (!entry || typeof entry !== 'object') continue;
    if (changeRequirements(entry)) changed = true;
    if (place.includes('node_modules/') && typeof entry.resolved === 'string' && /^git[+@:]/.test(entry.resolved)) {
      delete lock.packages[place];
      changed = true;
    }
  }
  for (const [name, entry] of entries(lock.dependencies)) {
    if (entry && typeof entry.version === 'string' && isAddress(entry.version)) {
      delete lock.dependencies[name];
      changed = true;
    }
  }
  return changed;
}

// The patterns below `packages:` in pnpm's file.
function pnpmPackages(text) {
  const patterns = [];
  let inside = false;
  for (const line of text.split(/\r?\n/)) {
    if (/^\S/.test(line)) inside = /^packages:\s*$/.test(line);
    const item = inside && /^\s*-\s*(['"]?)([^'"#]+)\1/.exec(line);
    if (item) patterns.push(item[2].trim());
  }
  return patterns;
}

// The folders of a tree that have a manifest, the root first.
function folders(root) {
  const found = [root];
  for (let at = 0; at < found.length && found.length < FOLDERS_MAX; at += 1) {
    let inner = [];
    try {
      inner = fs.readdirSync(found[at]).filter((name) => name !== 'node_modules' && !name.startsWith('.'));
    } catch (error) {
      continue;
    }
    for (const name of inner) {
      const folder = path.join(found[at], name);
      const stat = fs.lstatSync(folder);
      const depth = path.relative(root, folder).split(path.sep).length;
      if (stat.isDirectory() && depth <= 5) found.push(folder);
    }
  }
  return found;
}

function change(root) {
  const kept = [];
  const put = (file, text, value, back = text) => {
    kept.push([file, back]);
    fs.writeFileSync(file, JSON.stringify(value, null, 2) + '\n');
  };
  const own = parsed(read(path.join(root, 'package.json')) || '') || {};
  const pnpm = own.workspaces ? null : read(path.join(root, 'pnpm-workspace.yaml'));
  const patterns = pnpm === null ? [] : pnpmPackages(pnpm);
  const all = own.workspaces || patterns.length ? folders(root) : [root];
  for (const folder of all) {
    const file = path.join(folder, 'package.json');
    const text = read(file);
    const manifest = text === null ? null : parsed(text);
    if (!manifest) continue;
    const changed = changeRequirements(manifest);
    if (folder === root && patterns.length) {
      manifest.workspaces = patterns;
      // Scripts that run others in all packages need the list too; what is private is never packed.
      const whole = JSON.stringify(Object.assign({}, own, { workspaces: patterns }), null, 2);
      put(file, text, manifest, own.private === true ? whole : text);
    } else if (changed) {
      put(file, text, manifest);
    }
  }
  for (const name of ['package-lock.json', 'npm-shrinkwrap.json']) {
    const file = path.join(root, name);
    const text = read(file);
    const lock = text === null ? null : parsed(text);
    if (lock && changeLock(lock)) put(file, text, lock);
  }
  fs.writeFileSync(KEPT, JSON.stringify(kept));
}

function restore() {
  for (const [file, text] of JSON.parse(read(KEPT) || '[]')) fs.writeFileSync(file, text);
}

if (process.argv[2] === 'change') change(process.cwd());
else restore();
