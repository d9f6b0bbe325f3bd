"""wallet contact: names for the addresses of others."""

from __future__ import annotations

import time
from typing import Any

import click

from wallet.cli.names import complete_contacts
from wallet.cli.options import Command, ConfirmationRequired, Declined, Settings, clean
from wallet.contacts import Contact, check_contact
from wallet.errors import AlreadyExists, InvalidInput

_look_alike_option = click.option(
    "--allow-look-alike",
    is_flag=True,
    help="Though the name or address can be taken for another.",
)


@click.group("contact")
def command() -> None:
    """Give names to the addresses of others; they are kept here alone."""


@command.command(cls=Command)
@click.argument("name")
@click.argument("address")
@click.option("--note", default="", metavar="TEXT", help="A line for yourself.")
@click.option("--replace", is_flag=True, help="Replace the contact of that name.")
@_look_alike_option
@click.pass_obj
def add(
    settings: Settings, *, name: str, address: str, note: str, replace: bool, allow_look_alike: bool
) -> None:
    """Call ADDRESS by a NAME from now on, wherever a command takes an address."""
    contacts = settings.contacts()
    try:
        contact = check_contact(Contact(name, address, note, int(time.time())))
    except InvalidInput as error:
        raise click.BadParameter(str(error)) from error
    old = contacts.find(name)
    if old is not None and not replace:
        raise AlreadyExists(
            f"there is a contact {name!r} already, {old.address}: replace it with --replace"
        )
    found = contacts.find_like_names(name) + contacts.find_like_addresses(contact.address)
    _confirm_look_alikes(settings, found, allow_look_alike)
    if old is not None:
        _confirm_replacement(settings, old, contact)
    contacts.add(contact, replacing=old)
    settings.answer(_as_json(contact), f"Contact {contact.name}: {contact.address}")


@command.command("list", cls=Command)
@click.pass_obj
def list_(settings: Settings) -> None:
    """List the contacts."""
    contacts = settings.contacts().all()
    width = max((len(contact.name) for contact in contacts), default=0)
    settings.answer(
        {"contacts": [_as_json(contact) for contact in contacts]},
        "\n".join(
            f"{contact.name:<{width}}  {contact.address}"
            + (f"  {contact.note}" if contact.note else "")
            for contact in contacts
        )
        or "no contact yet: `wallet contact add NAME ADDRESS` stores one",
    )


@command.command(cls=Command)
@click.argument("name", shell_complete=complete_contacts)
@click.pass_obj
def show(settings: Settings, name: str) -> None:
    """Show the contact called NAME."""
    contact = settings.contacts().get(name)
    settings.answer(_as_json(contact), _as_text(contact))


@command.command(cls=Command)
@click.argument("name", shell_complete=complete_contacts)
@click.argument("new_name")
@_look_alike_option
@click.pass_obj
def rename(settings: Settings, name: str, new_name: str, allow_look_alike: bool) -> None:
    """Call the contact NAME by a NEW_NAME."""
    contacts = settings.contacts()
    contacts.get(name)
    _confirm_look_alikes(settings, contacts.find_like_names(new_name, name), allow_look_alike)
    renamed = contacts.rename(name, new_name)
    settings.answer(_as_json(renamed), f"Contact {renamed.name}: {renamed.address}")


@command.command(cls=Command)
@click.argument("name", shell_complete=complete_contacts)
@click.pass_obj
def rm(settings: Settings, name: str) -> None:
    """Forget the contact called NAME. The answer holds its address."""
    contact = settings.contacts().remove(name)
    settings.answer(
        {**_as_json(contact), "deleted": True}, f"Deleted {contact.name}: {contact.address}"
    )


def _confirm_look_alikes(settings: Settings, found: list[str], allowed: bool) -> None:
    """Say what a contact could be taken for, and ask. Raises ConfirmationRequired, or Declined."""
    for line in found:
        settings.note(f"Warning  {line}")
    if not found or allowed:
        return
    if not settings.on_terminal:
        raise ConfirmationRequired(f"{found[0]}: confirm with --allow-look-alike")
    if not click.confirm("Store it all the same?", err=True):
        raise Declined("declined: nothing was stored")


def _confirm_replacement(settings: Settings, old: Contact, new: Contact) -> None:
    settings.note(
        f"Contact  {old.name}\n"
        f"Old      {old.address}{f'  {old.note}' if old.note else ''}\n"
        f"New      {new.address}{f'  {new.note}' if new.note else ''}"
    )
    if settings.yes:
        return
    if not settings.on_terminal:
        raise ConfirmationRequired(
            f"the contact {old.name!r} is {old.address}: confirm the new address with --yes"
        )
    if not click.confirm(clean(f"Replace {old.name}?"), err=True):
        raise Declined("declined: nothing was stored")


def _as_text(contact: Contact) -> str:
    added = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(contact.added_at))
    note = f"\nNote     {contact.note}" if contact.note else ""
    return f"Name     {contact.name}\nAddress  {contact.address}{note}\nAdded    {added}"


def _as_json(contact: Contact) -> dict[str, Any]:
    return {
        "name": contact.name,
        "address": contact.address,
        "note": contact.note,
        "added_at": contact.added_at,
    }
