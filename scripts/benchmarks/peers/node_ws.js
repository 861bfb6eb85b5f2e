// Node's `ws`: `send` of a ready buffer, for one connection after another. It makes the frame's head again each time.
// The first argument is the folder that holds the package.
"use strict";

const { createInterface } = require("node:readline");
const { WebSocketServer } = require(`${process.argv[2]}/ws`);

let message;
const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });

server.on("connection", (socket) => {
  socket.on("message", () => socket.send(message, { binary: false }));
});

createInterface({ input: process.stdin }).on("line", (line) => {
  if (message === undefined) {
    message = Buffer.from(JSON.stringify(JSON.parse(line).message));
    console.log(`serves http://127.0.0.1:${server.address().port}`);
  } else {
    for (const socket of server.clients) socket.send(message, { binary: false });
  }
});
