/** The start of a report, which is the only script in the file: unpack the modules and the data, and run them. */
async function unpack(id) {
  const packed = atob(document.getElementById(id).textContent);
  const bytes = Uint8Array.from(packed, (character) => character.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(plain).json();
}

// Each module comes after those that it imports, whose addresses it gets.
const addresses = [];
for (const text of await unpack("report-modules")) {
  const linked = text.replace(/"linked:(\d+)"/g, (_, place) => JSON.stringify(addresses[place]));
  addresses.push(URL.createObjectURL(new Blob([linked], { type: "text/javascript" })));
}
const { start } = await import(addresses.at(-1));
start(await unpack("report-data"));
