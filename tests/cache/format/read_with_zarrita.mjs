// Prints arrays of a store behind a URL as JSON: path -> {dtype, shape, values}, read by zarrita.
// To be run from a folder beside the node_modules that hold zarrita:
//   node read_with_zarrita.mjs <url> <path> …
import { Float16Array } from "@petamoriken/float16";

globalThis.Float16Array ??= Float16Array; // newer versions of node have their own
const zarr = await import("zarrita");

const [url, ...paths] = process.argv.slice(2);
const root = zarr.root(new zarr.FetchStore(url));
const found = {};
for (const path of paths) {
  const array = await zarr.open.v3(root.resolve(path), { kind: "array" });
  const { data, shape } = await zarr.get(array);
  const values = Array.from(data, (value) => (typeof value === "bigint" ? Number(value) : value));
  found[path] = { dtype: array.dtype, shape, values };
}
console.log(JSON.stringify(found));
