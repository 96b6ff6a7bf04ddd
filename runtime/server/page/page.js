'use strict';
const element = id => document.getElementById(id);
const history = [];
let running = null;

function headers() {
  const key = element('key').value.trim();
  return key ? {Authorization: 'Bearer ' + key} : {};
}

async function errorOf(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return 'HTTP ' + response.status;
  }
}

function show(kind, text) {
  const box = document.createElement('div');
  box.className = 'message ' + kind;
  box.textContent = text;
  element('messages').append(box);
  box.scrollIntoView({block: 'end'});
  return box;
}

async function loadModels() {
  try {
    const response = await fetch('/v1/models', {headers: headers()});
    if (!response.ok)
      throw new Error(await errorOf(response));
    const chosen = element('model').value;
    element('model').replaceChildren(...(await response.json()).data.map(model => new Option(model.id, model.id)));
    if (chosen)
      element('model').value = chosen;
    element('status').textContent = 'ready';
  } catch (error) {
    element('status').textContent = error.message;
    // While the model loads, or until the key is right.
    setTimeout(loadModels, 2000);
  }
}

/// Calls `take` with each event's object, until [DONE].
async function readEvents(response, take) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const {value, done} = await reader.read();
    if (done)
      return;
    text += value;
    const events = text.split('\n\n');
    text = events.pop();
    for (const event of events) {
      const data = event.replace(/^data: /, '');
      if (data === '[DONE]')
        return;
      const object = JSON.parse(data);
      if (object.error)
        throw new Error(object.error.message);
      take(object);
    }
  }
}

async function send() {
  const prompt = element('prompt').value;
  if (!prompt || running)
    return;
  const chat = element('mode').value === 'chat';
  const body = {
    model: element('model').value,
    temperature: Number(element('temperature').value),
    max_tokens: Number(element('tokens').value),
    stream: true,
    stream_options: {include_usage: true},
  };
  if (chat)
    body.messages = [...history, {role: 'user', content: prompt}];
  else
    body.prompt = prompt;
  show('user', prompt);
  element('prompt').value = '';
  const box = show('assistant', chat ? '' : prompt);
  running = new AbortController();
  element('send').disabled = true;
  element('stop').disabled = false;
  element('status').textContent = 'running';
  const start = performance.now();
  let answer = '', usage = null;
  try {
    const response = await fetch(chat ? '/v1/chat/completions' : '/v1/completions', {
      method: 'POST',
      headers: {...headers(), 'Content-Type': 'application/json'},
      body: JSON.stringify(body),
      signal: running.signal,
    });
    if (!response.ok)
      throw new Error(await errorOf(response));
    await readEvents(response, object => {
      usage = object.usage || usage;
      for (const choice of object.choices)
        answer += (chat ? choice.delta.content : choice.text) || '';
      box.textContent = (chat ? '' : prompt) + answer;
      box.scrollIntoView({block: 'end'});
    });
    const seconds = (performance.now() - start) / 1000;
    element('status').textContent =
        usage ? `${usage.completion_tokens} tokens in ${seconds.toFixed(1)} s` : `${seconds.toFixed(1)} s`;
  } catch (error) {
    if (error.name === 'AbortError') {
      element('status').textContent = 'stopped';
    } else {
      box.classList.add('error');
      box.textContent += (box.textContent ? '\n' : '') + error.message;
      element('status').textContent = 'failed';
    }
  }
  // A turn that gave nothing is not part of the conversation.
  if (chat && answer)
    history.push({role: 'user', content: prompt}, {role: 'assistant', content: answer});
  running = null;
  element('send').disabled = false;
  element('stop').disabled = true;
}

element('form').addEventListener('submit', event => {
  event.preventDefault();
  send();
});
element('prompt').addEventListener('keydown', event => {
  if (event.key === 'Enter' && event.ctrlKey)
    send();
});
element('stop').addEventListener('click', () => running && running.abort());
element('clear').addEventListener('click', () => {
  history.length = 0;
  element('messages').replaceChildren();
});
element('key').addEventListener('change', loadModels);
loadModels();
