"use strict";
// Makes dist/ of lib/; it needs a package that the program itself does not.
const fs = require("fs");
const isArray = require("isarray");

fs.mkdirSync("dist", { recursive: true });
fs.copyFileSync("lib/server.js", "dist/server.js");
const files = fs.readdirSync("lib");
if (!isArray(files)) throw new Error("no list");
fs.writeFileSync("dist/built.json", JSON.stringify({ mode: process.env.NODE_ENV, files: files.sort() }) + "\n");
