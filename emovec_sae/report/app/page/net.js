// The server answers in lines of JSON; a line of kind "error" says in words what was refused.

const GONE = "The explorer does not answer; is it still running?";

export async function get(path) {
  const answer = await fetch(path).catch(() => { throw new Error(GONE); });
  return answer.json();
}

export async function lines(path, { body, signal, each }) {
  const options = { signal };
  if (body) Object.assign(options, { method: "POST", body: JSON.stringify(body), headers: { "content-type": "application/json" } });
  let answer;
  try {
    answer = await fetch(path, options);
  } catch (error) {
    throw error.name === "AbortError" ? error : new Error(GONE);
  }
  if (!answer.ok) throw new Error((await answer.json().catch(() => ({}))).error ?? GONE);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) {
      const line = JSON.parse(part);
      if (line.kind === "error") throw new Error(line.error);
      each(line);
    }
  }
}
